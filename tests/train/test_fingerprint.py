"""The cohort's fingerprint: known answers on drawn crops."""

import numpy as np
import SimpleITK as sitk

from cpmn.train.fingerprint import fingerprint
from cpmn.train.subjects import crop_files
from cpmn.volume.images import write_image


def draw(folder, spacing, size, lung_hu, clot_hu=None) -> None:
    hu = np.full(size[::-1], 40, np.int16)
    lung, embolus = np.zeros_like(hu), np.zeros_like(hu)
    lung[1:, 1:, 1:] = 1
    hu[lung > 0] = lung_hu
    if clot_hu is not None:
        embolus[0, 0, :] = 3
        hu[0, 0, :] = clot_hu
    for name, array in (("nct", hu), ("lung", lung), ("embolus", embolus)):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(spacing)
        write_image(image, folder / f"{name}.nii.gz")


def test_fingerprint(tmp_path):
    draw(tmp_path / "a", (0.7, 0.7, 1.0), (10, 8, 6), -860, 70)
    draw(tmp_path / "b", (0.8, 0.8, 5.0), (12, 9, 4), -820)
    draw(tmp_path / "c", (0.6, 0.6, 2.0), (14, 7, 5), -900)
    found = fingerprint(
        [crop_files(tmp_path / name, ("nct", "ctpa") if name == "a" else ("nct",)) for name in "abc"], [1, 0, 0]
    )
    assert found == {
        "patients": 3,
        "pe": 1,
        "paired": 1,
        "median_spacing": [0.7, 0.7, 2.0],
        "median_size": [12, 8, 5],
        "spacing_range": [[0.6, 0.6, 1.0], [0.8, 0.8, 5.0]],
        "size_range": [[10, 7, 4], [14, 9, 6]],
        "extent_range_mm": [[7.0, 4.2, 6.0], [9.6, 7.2, 20.0]],
        "noise_range_hu": None,
        "lung_hu": [-860, -860, -860],
        "clot_hu": [70, 70, 70],
    }


def test_no_lung_and_no_clot(tmp_path):
    draw(tmp_path / "a", (0.7, 0.7, 1.0), (10, 1, 1), 0)
    found = fingerprint([crop_files(tmp_path / "a", ("nct",))], [0])
    assert found["lung_hu"] is None
    assert found["clot_hu"] is None
