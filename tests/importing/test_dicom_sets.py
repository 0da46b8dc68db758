"""FUMPE and READ: masks that follow the names of DICOM files land where those slices lie."""

import logging
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.io import savemat

from cpmn.cohort.masks import read_mask
from cpmn.cohort.sheet import Patient
from cpmn.config.convert import ConvertConfig
from cpmn.dicom.scan import read_scan
from cpmn.errors import CpmnError
from cpmn.files import read_table
from cpmn.importing.stage import import_dataset
from cpmn.volume.images import read_image
from tests.dicom.conftest import stored_values
from tests.importing.conftest import SHAPE, SLICES, STEP_MM

DOWN = [STEP_MM * (SLICES - index) for index in range(SLICES)]  # the first file is the highest slice
UP = DOWN[::-1]
TILTED = [1, 0, 0, 0, 0.9763, -0.2164]
READ_LAYOUTS = {
    "images and rs": ("images/GE (DICOM files)/01GE", "rs/01GE.nii.gz"),
    "the longer names": (
        "CT scans (DICOM files)/GE (DICOM files)/01GE",
        "Ground truth (pixel level segmentation - NiFTI files)/GE (NiFTI files)/01GE.nii.gz",
    ),
}


def labels_at(*voxels: tuple[int, int, int]) -> np.ndarray:
    """Mask (file, row, column) with these voxels marked."""
    mask = np.zeros(SHAPE, np.uint8)
    for voxel in voxels:
        mask[voxel] = 1
    return mask


def write_mat(path, labels, **others):
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"Mask": np.transpose(labels, (1, 2, 0)), **others})


@pytest.fixture
def fumpe(tmp_path, write_dicom):
    """Write a patient of FUMPE; gives the folder of the set."""

    def write(patient, heights, labels, name="D{:04d}.dcm"):
        write_dicom(tmp_path / "FUMPE/CT_scans" / patient, heights, name)
        write_mat(tmp_path / f"FUMPE/GroundTruth/{patient}.mat", labels)
        return tmp_path / "FUMPE"

    return write


def marked(image: sitk.Image) -> list[tuple[float, ...]]:
    """Where the marked voxels lie, in mm (x, y, z)."""
    voxels = np.argwhere(sitk.GetArrayFromImage(image) > 0).tolist()
    return [tuple(np.round(image.TransformIndexToPhysicalPoint(voxel[::-1]), 3)) for voxel in voxels]


@pytest.mark.parametrize("heights", [DOWN, UP], ids=["first file highest", "first file lowest"])
def test_a_voxel_of_fumpe_lies_where_its_file_lies(fumpe, tmp_path, heights):
    source = fumpe("PAT001", heights, labels_at((3, 4, 5)))
    (row,), skipped = import_dataset("fumpe", source, tmp_path / "out")
    assert not skipped
    assert (row["patient_id"], row["label"], row["nct"]) == ("PAT001", "1", "")
    mask = read_image(tmp_path / "out" / row["ctpa_mask"])
    assert marked(mask) == [pytest.approx((-10 + 5 * 0.8, -20 + 4 * 0.7, heights[3]))]


def test_names_are_ordered_by_their_numbers(fumpe, tmp_path):
    source = fumpe("PAT001", DOWN, labels_at((1, 0, 0)), name="D{}.dcm")  # D2 is the second, although D10 sorts before
    import_dataset("fumpe", source, tmp_path / "out")
    assert marked(read_image(tmp_path / "out/ctpa_mask/PAT001.nii.gz"))[0][2] == DOWN[1]


def test_the_pipeline_takes_the_mask_on_the_converted_scan(fumpe, tmp_path):
    heights = list(np.random.default_rng(5).permutation(UP))  # names that follow nothing
    source = fumpe("PAT001", heights, labels_at((7, 2, 6), (7, 2, 5)))
    (row,), _ = import_dataset("fumpe", source, tmp_path / "out")
    scan, _ = read_scan(
        source / "CT_scans/PAT001", patient="p", phase="ctpa", series_uid="", config=ConvertConfig.model_validate({})
    )
    patient = Patient.model_validate({"patient_id": "p", "nct": tmp_path, "label": 1})
    mask = read_mask(patient, tmp_path / "out" / row["ctpa_mask"], scan, "CTPA")
    hu = sitk.GetArrayFromImage(scan)[sitk.GetArrayFromImage(mask) > 0]
    assert sorted(hu) == sorted(int(stored_values(7)[2, column]) - 1024 for column in (5, 6))


def test_each_connected_clot_gets_an_id(fumpe, tmp_path):
    source = fumpe("PAT001", UP, labels_at((2, 0, 0), (3, 1, 1), (9, 5, 7)))  # the first two touch by a corner
    import_dataset("fumpe", source, tmp_path / "out")
    values = sitk.GetArrayFromImage(read_image(tmp_path / "out/ctpa_mask/PAT001.nii.gz"))
    assert np.bincount(values.ravel())[1:].tolist() == [2, 1]


def test_an_empty_mask_is_a_patient_without_embolism(fumpe, tmp_path):
    source = fumpe("PAT001", UP, labels_at())
    (row,), _ = import_dataset("fumpe", source, tmp_path / "out")
    assert (row["label"], row["ctpa_mask"]) == ("0", "")
    assert not (tmp_path / "out/ctpa_mask").exists()


def large_fumpe(tmp_path, write_dicom, files) -> Path:
    """A patient 120 mm wide whose slices 0, 3, ... are air and 1, 4, ... tissue, with these marked in three rows.

    By position, files 0 and 1 change places, and 3 and 4.
    """
    heights = [UP[1], UP[0], UP[2], UP[4], UP[3], *UP[5:]]
    write_dicom(tmp_path / "FUMPE/CT_scans/PAT001", heights, PixelSpacing=[20, 20])
    labels = np.zeros(SHAPE, np.uint8)
    labels[list(files), :3] = 1
    write_mat(tmp_path / "FUMPE/GroundTruth/PAT001.mat", labels)
    return tmp_path / "FUMPE"


def test_a_mask_that_rather_suits_the_order_of_positions_is_refused(tmp_path, write_dicom):
    source = large_fumpe(tmp_path, write_dicom, (0, 3))
    with pytest.raises(CpmnError, match=r"0% of the mask .* 100% with its slices in the order of their positions"):
        import_dataset("fumpe", source, tmp_path / "out")


def test_a_mask_that_suits_the_order_of_names_is_taken(tmp_path, write_dicom):
    source = large_fumpe(tmp_path, write_dicom, (1, 4))
    _, skipped = import_dataset("fumpe", source, tmp_path / "out")
    assert not skipped


def test_a_refused_mask_is_taken_when_overruled(tmp_path, write_dicom, caplog):
    source = large_fumpe(tmp_path, write_dicom, (0, 3))
    with caplog.at_level(logging.WARNING):
        import_dataset("fumpe", source, tmp_path / "out", overrule=["mask_mirrored", "mask_tissue"])
    assert "mask_mirrored (overruled)" in caplog.text
    sheet = read_table(tmp_path / "out/cohort.csv")
    assert {row["overrule"] for row in sheet if row["ctpa_mask"]} == {"mask_mirrored mask_tissue"}  # a run asks again
    assert len(marked(read_image(tmp_path / "out/ctpa_mask/PAT001.nii.gz"))) == 48


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: path.write_bytes(path.read_bytes()[:60]), "cannot be read as a MATLAB file"),
        (lambda path: savemat(path, {"Other": np.zeros(SHAPE)}), "with a variable Mask"),
        (lambda path: savemat(path, {"Mask": np.zeros((4, 4))}), "2 axes, not 3"),
        (lambda path: write_mat(path, np.zeros((9, *SHAPE[1:]))), "the mask has 8 x 6 x 9 voxels, the CTPA 8 x 6 x 12"),
        (lambda path: write_mat(path, np.linspace(0, 1, np.prod(SHAPE)).reshape(SHAPE)), "whole numbers"),
    ],
)
def test_a_bad_patient_is_left_out_with_the_reason_and_the_others_stay(fumpe, tmp_path, spoil, reason):
    fumpe("PAT001", UP, labels_at((0, 0, 0)))
    source = fumpe("PAT002", UP, labels_at((0, 0, 0)))
    spoil(source / "GroundTruth/PAT001.mat")
    rows, skipped = import_dataset("fumpe", source, tmp_path / "out")
    assert [row["patient_id"] for row in rows] == ["PAT002"]
    assert skipped[0].patient_id == "PAT001"
    assert reason in skipped[0].reason
    assert "patient PAT001: " not in skipped[0].reason


@pytest.mark.parametrize("layout", READ_LAYOUTS.values(), ids=READ_LAYOUTS)
def test_read_is_placed_by_indices_and_not_by_the_labels_header(tmp_path, write_dicom, write_image, layout):
    source = tmp_path / "READ"
    write_dicom(source / layout[0], DOWN)  # the label's header says upwards
    write_image(source / layout[1], labels_at((3, 4, 5)), x_mm=0.80002)
    (row,), skipped = import_dataset("read", source, tmp_path / "out")
    assert not skipped
    assert (row["patient_id"], row["ctpa"]) == ("01GE", str(source / layout[0]))
    mask = read_image(tmp_path / "out" / row["ctpa_mask"])
    assert mask.GetSpacing() == pytest.approx((0.8, 0.7, STEP_MM), abs=1e-6)
    assert marked(mask) == [pytest.approx((-10 + 5 * 0.8, -20 + 4 * 0.7, DOWN[3]), abs=1e-3)]


def test_read_refuses_a_mask_of_other_voxels_and_names_who_has_none(tmp_path, write_dicom, write_image):
    for name in ("01GE", "02GE", "03GE"):
        write_dicom(tmp_path / "READ/images" / name, UP)
    write_image(tmp_path / "READ/rs/01GE.nii.gz", labels_at((3, 4, 5)), x_mm=0.9)
    write_image(tmp_path / "READ/rs/02GE.nii.gz", labels_at((3, 4, 5)))
    rows, skipped = import_dataset("read", tmp_path / "READ", tmp_path / "out")
    assert [row["patient_id"] for row in rows] == ["02GE"]
    assert {one.patient_id: one.reason for one in skipped}["03GE"] == "there is no 03GE.nii.gz"
    assert "the mask's voxels are 0.900 x 0.700 x 2.500 mm" in skipped[0].reason


@pytest.mark.parametrize(
    ("heights", "tags", "reason"),
    [
        pytest.param([*UP[:-1], UP[-1] + 1.0], {}, "even", id="uneven"),
        pytest.param(UP, {"ImageOrientationPatient": TILTED}, "gantry tilt", id="tilted"),
    ],
)
def test_a_series_that_convert_would_resample_is_left_out(fumpe, write_dicom, tmp_path, heights, tags, reason):
    source = fumpe("PAT001", UP, labels_at((0, 0, 0)))
    write_dicom(source / "CT_scans/PAT002", heights, **tags)
    write_mat(source / "GroundTruth/PAT002.mat", labels_at((0, 0, 0)))
    _, (skipped,) = import_dataset("fumpe", source, tmp_path / "out")
    assert skipped.patient_id == "PAT002"
    assert skipped.reason.startswith("the CTPA cannot be read: ")
    assert reason in skipped.reason
