"""How computed scans name themselves in DICOM, so that whoever converts them can tell what of them is made up."""

MANUFACTURER = "CPMN phantom"
PHANTOM_MODEL = "cpmn"  # everything is computed
CHEST_MODEL = "cpmn real anatomy"  # a real chest with simulated contrast, emboli and motion
