"""Every patient gets an image of clot ids on the NCT grid; each wrong input has its message."""

import re
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.cohort.sheet import Patient
from cpmn.config.propagate import PropagateConfig
from cpmn.errors import PatientError
from cpmn.propagate.stage import propagate_patient, source_of
from cpmn.volume.images import read_image, same_grid, write_image

SHAPE = (12, 16, 18)
SHIFT_MM = (2.0, 0.0, 0.0)
CONFIG = PropagateConfig()


def save(path: Path, array, spacing=(2.0, 2.0, 3.0)) -> Path:
    image = sitk.GetImageFromArray(np.asarray(array))
    image.SetSpacing(spacing)
    write_image(image, path)
    return path


def marked(*voxels: tuple[int, int, int], dtype: type[np.generic] = np.uint8) -> np.ndarray:
    array = np.zeros(SHAPE, dtype)
    for label, voxel in enumerate(voxels, start=1):
        array[voxel] = label
    return array


class Case:
    """A patient whose NCT shows everything one voxel further left than the CTPA."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.nct = save(folder / "nct.nii.gz", np.zeros(SHAPE, np.int16))
        self.ctpa = save(folder / "ctpa.nii.gz", np.zeros(SHAPE, np.int16))
        sitk.WriteTransform(shift(), str(folder / "affine.mat"))
        field = sitk.Image(SHAPE[::-1], sitk.sitkVectorFloat32, 3)
        field.SetSpacing((2.0, 2.0, 3.0))
        sitk.WriteImage(field, str(folder / "warp.nii.gz"))

    def run(
        self,
        label: Literal[0, 1],
        config: PropagateConfig = CONFIG,
        annotated: Path | None = None,
        unannotated: Literal["use", "refuse"] = "use",
        **masks,
    ) -> np.ndarray:
        patient = Patient.model_validate(
            {"patient_id": "p1", "nct": self.nct, "label": label, "ctpa": self.ctpa, **masks}
        )
        output = self.folder / "propagate" / "embolus.nii.gz"
        self.findings = propagate_patient(
            patient,
            nct=self.nct,
            ctpa=self.ctpa,
            affine=self.folder / "affine.mat",
            warp=self.folder / "warp.nii.gz",
            output=output,
            config=config,
            annotated=annotated,
            unannotated=unannotated,
        )
        self.source = source_of(patient, output)
        image = read_image(output)
        assert image.GetPixelID() == sitk.sitkUInt16
        assert same_grid(image, read_image(self.nct))
        return sitk.GetArrayFromImage(image)


def shift() -> sitk.AffineTransform:
    transform = sitk.AffineTransform(3)
    transform.SetTranslation(SHIFT_MM)
    return transform


@pytest.fixture
def case(tmp_path) -> Case:
    return Case(tmp_path)


def test_ids_follow_the_transform(case):
    mask = save(case.folder / "mask.nii.gz", marked((5, 6, 7), (8, 9, 10)))
    result = case.run(1, ctpa_mask=mask)
    np.testing.assert_array_equal(result, marked((5, 6, 6), (8, 9, 9)))


def test_a_mask_stored_with_turned_axes_is_the_same_mask(case):
    mask = sitk.ReadImage(str(save(case.folder / "mask.nii.gz", marked((5, 6, 7), (8, 9, 10)))))
    write_image(sitk.Flip(sitk.PermuteAxes(mask, (2, 0, 1)), (True, False, True)), case.folder / "turned.nii.gz")
    result = case.run(1, ctpa_mask=case.folder / "turned.nii.gz")
    np.testing.assert_array_equal(result, marked((5, 6, 6), (8, 9, 9)))


def test_label_0_gives_zeros(case):
    assert not case.run(0).any()


def test_label_0_with_an_empty_mask_gives_zeros(case):
    assert not case.run(0, ctpa_mask=save(case.folder / "mask.nii.gz", marked())).any()


def test_an_nct_mask_replaces_propagation(case):
    nct_mask = save(case.folder / "nct_mask.nii.gz", marked((2, 2, 2), (3, 3, 3), dtype=np.float32))
    result = case.run(1, nct_mask=nct_mask, ctpa_mask=case.folder / "absent.nii.gz")
    np.testing.assert_array_equal(result, marked((2, 2, 2), (3, 3, 3)))


def test_pe_without_a_mask_is_refused_where_the_settings_say_so(case):
    with pytest.raises(PatientError, match=r"patient p1: label is 1 \(PE\) but no embolus mask is given"):
        case.run(1, unannotated="refuse")


def test_pe_without_any_outline_gives_zeros_and_teaches_by_its_label(case):
    assert not case.run(1).any()
    nothing = save(case.folder / "annotated.nii.gz", marked(dtype=np.uint16))
    assert not case.run(1, annotated=nothing).any()
    assert case.source == "label"


def test_what_annotate_outlined_is_carried_like_a_persons(case):
    annotated = save(case.folder / "annotated.nii.gz", marked((5, 6, 7), (8, 9, 10), dtype=np.uint16))
    np.testing.assert_array_equal(case.run(1, annotated=annotated), marked((5, 6, 6), (8, 9, 9)))
    assert case.source == "annotate"
    mask = save(case.folder / "mask.nii.gz", marked((2, 3, 4)))
    np.testing.assert_array_equal(case.run(1, annotated=annotated, ctpa_mask=mask), marked((2, 3, 3)))
    assert not case.run(0, annotated=annotated).any()
    assert case.source == "label"


def test_what_annotate_outlined_outside_the_nct_is_left_out_and_the_label_alone_teaches(case, caplog):
    outside = save(case.folder / "annotated.nii.gz", marked((5, 6, 0), dtype=np.uint16))
    assert not case.run(1, annotated=outside).any()
    assert "lie outside the NCT and are left out" in caplog.text


@pytest.mark.parametrize("column", ["ctpa_mask", "nct_mask"])
def test_an_empty_mask_with_label_1(case, column):
    mask = save(case.folder / "mask.nii.gz", marked())
    with pytest.raises(PatientError, match=r"label is 1 \(PE\) but the mask is empty \(.*mask.nii.gz\)"):
        case.run(1, **{column: mask})


@pytest.mark.parametrize("column", ["ctpa_mask", "nct_mask"])
def test_clots_with_label_0(case, column):
    mask = save(case.folder / "mask.nii.gz", marked((5, 6, 7)))
    with pytest.raises(PatientError, match=r"label is 0 \(no PE\) but the mask marks clots"):
        case.run(0, **{column: mask})


@pytest.mark.parametrize(("column", "scan"), [("ctpa_mask", "CTPA"), ("nct_mask", "NCT")])
def test_a_mask_of_another_shape_names_both_grids(case, column, scan):
    mask = save(case.folder / "mask.nii.gz", marked((5, 6, 7))[:10])
    message = f"another grid than the {scan}: 18x16x10 voxels of 2x2x3 mm from (0.0, 0.0, 0.0), not 18x16x12 voxels"
    with pytest.raises(PatientError, match=re.escape(message)):
        case.run(1, **{column: mask})


@pytest.mark.parametrize(("column", "scan", "other"), [("ctpa_mask", "CTPA", "NCT"), ("nct_mask", "NCT", "CTPA")])
def test_a_mask_that_was_drawn_on_the_other_phase_says_so(case, column, scan, other):
    mask = save(case.folder / "mask.nii.gz", marked((5, 6, 7))[:10])
    save(case.folder / f"{other.lower()}.nii.gz", np.zeros((10, *SHAPE[1:]), np.int16))
    message = rf"the mask lies on the grid of the {other}, not on the {scan}'s.*name it in {other.lower()}_mask"
    with pytest.raises(PatientError, match=message):
        case.run(1, **{column: mask})


def test_a_mask_of_another_spacing(case):
    mask = save(case.folder / "mask.nii.gz", marked((5, 6, 7)), spacing=(2.0, 2.0, 2.5))
    with pytest.raises(PatientError, match=r"another grid than the CTPA: 18x16x12 voxels of 2x2x2\.5 mm"):
        case.run(1, ctpa_mask=mask)


def test_an_unreadable_mask(case):
    (case.folder / "mask.nii.gz").write_bytes(b"no image")
    with pytest.raises(PatientError, match=r"patient p1: the mask cannot be read: .*mask.nii.gz"):
        case.run(1, ctpa_mask=case.folder / "mask.nii.gz")


def test_a_missing_mask(case):
    with pytest.raises(PatientError, match=r"patient p1: the mask cannot be read: .*absent.nii.gz does not exist"):
        case.run(1, ctpa_mask=case.folder / "absent.nii.gz")


@pytest.mark.parametrize("value", [-1, 0.5, 70000])
def test_a_mask_that_holds_no_ids(case, value):
    array = marked((5, 6, 7), dtype=np.float32)
    array[0, 0, 0] = value
    with pytest.raises(PatientError, match="the mask does not hold clot ids"):
        case.run(1, ctpa_mask=save(case.folder / "mask.nii.gz", array))


def test_clots_that_all_lie_outside_the_nct(case):
    mask = save(case.folder / "mask.nii.gz", marked((5, 6, 0)))  # one voxel further left is outside
    with pytest.raises(PatientError, match="no clot lies inside the NCT"):
        case.run(1, ctpa_mask=mask)


def test_a_mask_without_a_ctpa(case):
    mask = save(case.folder / "mask.nii.gz", marked((5, 6, 7)))
    patient = Patient.model_validate({"patient_id": "p1", "nct": case.nct, "label": 1, "ctpa_mask": mask})
    with pytest.raises(PatientError, match="a ctpa_mask is given without a ctpa"):
        propagate_patient(
            patient,
            nct=case.nct,
            ctpa=None,
            affine=None,
            warp=None,
            output=case.folder / "embolus.nii.gz",
            config=PropagateConfig(),
        )


def test_a_missing_transform(case):
    (case.folder / "affine.mat").unlink()
    mask = save(case.folder / "mask.nii.gz", marked((5, 6, 7)))
    with pytest.raises(PatientError, match=r"patient p1: transform .*affine.mat is absent"):
        case.run(1, ctpa_mask=mask)


def chest(folder: Path) -> np.ndarray:
    """Give the patient a chest of lung with two vessels, 108 by 96 mm; returns a mask of the vessels, one value."""
    vessels = np.zeros(SHAPE, np.uint8)
    vessels[2:5, 3:6, 2:6] = vessels[8:11, 3:6, 2:6] = 1
    hu = np.where(vessels, 40, -850).astype(np.int16)
    for name in ("nct", "ctpa"):
        save(folder / f"{name}.nii.gz", hu, (7.0, 7.0, 3.0))
    field = sitk.Image(SHAPE[::-1], sitk.sitkVectorFloat32, 3)
    field.SetSpacing((7.0, 7.0, 3.0))
    sitk.WriteImage(field, str(folder / "warp.nii.gz"))
    return vessels


@pytest.mark.parametrize("column", ["ctpa_mask", "nct_mask"])
def test_a_mask_of_one_value_is_split_into_clots(case, column):
    mask = save(case.folder / "mask.nii.gz", (marked((2, 2, 2), (8, 9, 10)) > 0).astype(np.uint8))
    assert sorted(np.unique(case.run(1, **{column: mask}))) == [0, 1, 2]
    assert [one.seen for one in case.findings if one.check == "mask_clots"] == [
        "the mask has one value: split into 2 clots"
    ]


@pytest.mark.parametrize("column", ["ctpa_mask", "nct_mask"])
def test_a_mirrored_mask_is_refused_and_can_be_overruled(case, column):
    mask = save(case.folder / "mask.nii.gz", chest(case.folder)[:, :, ::-1], (7.0, 7.0, 3.0))
    with pytest.raises(PatientError, match=r"patient p1: 0% of the mask .* mirrored left to right \(.*mask.nii.gz\)"):
        case.run(1, **{column: mask})
    case.run(1, **{column: mask}, overrule=("mask_mirrored", "mask_tissue"))
    assert {one.check: one.outcome for one in case.findings}["mask_mirrored"] == "overruled"


def test_every_finding_stands_in_the_log_once(case, caplog):
    mask = save(case.folder / "mask.nii.gz", chest(case.folder)[:, :, ::-1], (7.0, 7.0, 3.0))
    with caplog.at_level("INFO"):
        case.run(1, nct_mask=mask, overrule=("mask_mirrored", "mask_tissue"))
    assert {one.outcome for one in case.findings} == {"passed", "overruled"}
    assert [sum(one.seen in message for message in caplog.messages) for one in case.findings] == [1] * len(
        case.findings
    )


def test_a_right_mask_passes(case):
    mask = save(case.folder / "mask.nii.gz", chest(case.folder), (7.0, 7.0, 3.0))
    case.run(1, nct_mask=mask)
    assert {one.outcome for one in case.findings} == {"passed"}
    assert {one.check for one in case.findings} >= {"mask_volume", "mask_mirrored", "mask_tissue"}
