"""Computed images of dual-energy scans, by their standard and their vendors' names."""

import pytest

from cpmn.dicom.headers import Header
from cpmn.dicom.virtual import virtual_kind

VNC, MAP, MONO = "virtual non-contrast image", "material map of a dual-energy scan", "virtual monoenergetic image"


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "MAT_REMOVED"]}, VNC),
        ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "MAT_SPECIFIC"]}, MAP),
        ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "ELECTRON_DENSITY"]}, MAP),
        ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "VMI"]}, MONO),
        ({"ImageType": ["DERIVED", "SECONDARY", "OTHER", "CSA RESAMPLED", "DE_VNC"]}, VNC),
        ({"SeriesDescription": "VNC 1.0 Q40f"}, VNC),
        ({"SeriesDescription": "GSI VUE 2.5mm"}, VNC),
        ({"SeriesDescription": "Virtual_Unenhanced"}, VNC),
        ({"SeriesDescription": "Virtual Non-Contrast"}, VNC),
        ({"SeriesDescription": "Iodine Map"}, MAP),
        ({"SeriesDescription": "DE_Lung_PBV 1.5"}, MAP),
        ({"SeriesDescription": "Water(Iodine) 2.5"}, MAP),
        ({"SeriesDescription": "MonoE 70keV"}, MONO),
        ({"SeriesDescription": "Mono+ 50"}, MONO),
        ({"SeriesDescription": "70 keV std"}, MONO),
    ],
)
def test_computed_images(tags, kind):
    assert virtual_kind(Header(None, tags)) == kind  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "description",
    [
        *("", "CT Body 3.0", "ThoraxRoutine 8.0.0 B40f", "Thorax nativ 1.0 I70f", "CTPA 1.25", "monitoring"),
        *("Period study", "IODINATED CONTRAST", "CHEST W/O", "Lung 1.0", "Venous 70s", "Lunge (Kopie)"),
    ],
)
@pytest.mark.parametrize("image_type", [["ORIGINAL", "PRIMARY"], ["DERIVED", "SECONDARY", "MPR"]])
def test_measured_images(description, image_type):
    tags = {"SeriesDescription": description, "ImageType": image_type}
    assert virtual_kind(Header(None, tags)) == ""  # pyright: ignore[reportArgumentType]
