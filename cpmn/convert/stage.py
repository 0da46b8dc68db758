"""The stage `convert`: one patient's scans as int16 NIfTI in HU, each with a JSON of where it comes from."""

from pathlib import Path

from cpmn.cohort.sheet import Patient
from cpmn.config.convert import ConvertConfig
from cpmn.dicom.scan import read_scan
from cpmn.errors import PatientError
from cpmn.files import write_json
from cpmn.volume.images import write_image


def convert_patient(patient: Patient, folder: Path, config: ConvertConfig) -> None:
    """Write `folder`/{nct,ctpa}.nii.gz and .json (the CTPA only if the patient has one).

    Raises PatientError as `read_scan`, and if both phases come from one and the same series.
    """
    hashes: dict[str, str] = {}
    for phase, source in (("nct", patient.nct), ("ctpa", patient.ctpa)):
        if source is None:
            continue
        named = patient.nct_series if phase == "nct" else patient.ctpa_series
        image, facts = read_scan(source, patient=patient.patient_id, phase=phase, series_uid=named, config=config)
        hashes[phase] = facts["source_sha256"]
        if hashes.get("nct") == hashes.get("ctpa"):
            raise PatientError(
                patient.patient_id,
                "the NCT and the CTPA are one and the same scan",
                "Correct the paths, or name the series of each in nct_series and ctpa_series.",
                source,
            )
        write_image(image, folder / f"{phase}.nii.gz")
        write_json(folder / f"{phase}.json", facts)
