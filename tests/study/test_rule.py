"""The rule of thumb finds holes in opacified arteries, and what is no hole is none."""

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from cpmn.config.root import load_config
from cpmn.errors import CpmnError
from cpmn.files import read_json, write_json, write_table
from cpmn.volume.box import Box
from cpmn.volume.images import read_image, write_image
from study import rule
from study.cohort import MASKS

SPACING = (1.0, 1.0, 1.0)
LUNG, BLOOD, CLOT = -850.0, 350.0, 40.0


def chest() -> tuple[np.ndarray, np.ndarray]:
    """A lung with an opacified vessel of 12 x 12 mm along z; voxels of 1 mm, (z, y, x)."""
    ctpa, lung = np.full((48, 48, 48), LUNG), np.ones((48, 48, 48), bool)
    ctpa[:, 18:30, 18:30] = BLOOD
    return ctpa, lung & (ctpa == LUNG)


def test_a_filling_defect_is_outlined_to_its_border():
    ctpa, lung = chest()
    ctpa[20:28, 20:27, 20:27] = CLOT
    found, clot = rule.holes(ctpa, lung, SPACING), ctpa == CLOT
    assert found.max() == 1
    assert 2 * (found[clot] > 0).sum() / ((found > 0).sum() + clot.sum()) > 0.85


@pytest.mark.parametrize(
    "what",
    [
        (slice(20, 28), slice(36, 44), slice(36, 44)),  # a node: nothing about it is opacified
        (slice(0, 48), slice(18, 48), slice(30, 48)),  # 25 mL of soft tissue beside the vessel
    ],
)
def test_what_is_no_hole_in_a_vessel_is_not_outlined(what):
    ctpa, _ = chest()
    ctpa[what] = CLOT
    assert not rule.holes(ctpa, np.ones(ctpa.shape, bool), SPACING).any()


def test_a_speck_is_not_outlined():
    """64 voxels of 0.125 mm3, dark after smoothing too; 27 times as large they are a piece."""
    ctpa, lung = chest()
    ctpa[20:24, 22:26, 22:26] = 0.0
    assert not rule.holes(ctpa, lung, (0.5, 0.5, 0.5)).any()
    assert rule.holes(ctpa, lung, (1.5, 1.5, 1.5)).any()


def test_a_vessel_without_clot_has_no_hole_and_its_wall_is_none():
    ctpa, lung = chest()
    assert not rule.holes(ndimage.gaussian_filter(ctpa, 1.0), lung, SPACING).any()


def test_pairs_that_nobody_outlined_get_masks_on_their_own_grid_but_for_those_excluded(tmp_path, monkeypatch):
    names = {"train-001": "", "train-002": "b/ctpa_mask.nii.gz", "train-003": "", "train-004": ""}
    rows = [
        {"patient_id": name, "nct": f"{name}/nct", "ctpa": f"{name}/ctpa", "ctpa_mask": mask, "label": 1}
        for name, mask in names.items()
    ]
    write_table(tmp_path / "cohort.csv", list(rows[0]), rows)
    write_json(tmp_path / MASKS, {"outlined": 1, "draw": 0, "own": None})
    results = tmp_path / "results"
    write_json(results / "crop/train-003/status.json", {"passed": False})
    ctpa, lung = chest()
    clean = ctpa.copy()
    ctpa[20:28, 20:27, 20:27] = CLOT
    for name, hu in (("train-001", ctpa), ("train-003", ctpa), ("train-004", clean)):
        write_image(sitk.GetImageFromArray(hu.astype(np.int16)), results / "convert" / name / "ctpa.nii.gz")
    lungs = sitk.GetImageFromArray(lung.astype(np.uint8))
    whole = Box((0, 0, 0), (48, 48, 48), (48, 48, 48))
    monkeypatch.setattr(rule, "find_box", lambda *_: (whole, lungs, False))  # a chest of one lung is none
    assert rule.outline_by_rule(results, tmp_path / "masks", load_config({})) == {"train-001": 1, "train-004": 0}
    written = {path.name for path in (tmp_path / "masks").iterdir()}
    assert written == {MASKS, "train-001.nii.gz", "train-004.nii.gz"}
    assert read_json(tmp_path / "masks" / MASKS)["by"] == "rule"
    assert read_image(tmp_path / "masks/train-001.nii.gz").GetSize() == (48, 48, 48)
    with pytest.raises(CpmnError, match="holds outlines already"):
        rule.outline_by_rule(results, tmp_path / "masks", load_config({}))
