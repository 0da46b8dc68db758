"""The stage: sub-arrays of native voxels, and a box that only the NCT can move."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.config.convert import ConvertConfig
from cpmn.config.crop import CropConfig
from cpmn.crop.artery_vein import crop_vessels
from cpmn.crop.stage import crop_patient, embolus_outside
from cpmn.dicom.scan import read_scan
from cpmn.errors import PatientError
from cpmn.files import read_json
from cpmn.volume.box import Box
from cpmn.volume.images import image_like, read_image, write_image

CONFIG = CropConfig()
SIZE = (70, 60, 50)  # x, y, z
SPACING = (5.0, 5.0, 6.0)


def make_chest() -> sitk.Image:
    """Two boxes of lung in a body: x 10-24 and 44-59, y 15-44, z 10-39."""
    hu = np.full(SIZE[::-1], -1000, np.int16)
    hu[:, 5:55, 5:65] = 40
    hu[10:40, 15:45, 10:25] = -850
    hu[10:40, 15:45, 44:60] = -850
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing(SPACING)
    image.SetOrigin((-170.0, -140.0, -900.0))
    return image


@pytest.fixture
def scan(tmp_path) -> Path:
    """Folder with the NCT of a drawn chest, its registered CTPA and an embolus label (clot ids 4 and 9)."""
    nct = make_chest()
    labels = np.zeros(SIZE[::-1], np.uint16)
    labels[20:22, 30, 33] = 4  # between the lungs
    labels[2:4, 30, 33] = 9  # far below them
    write_image(nct, tmp_path / "nct.nii.gz")
    write_image(nct + 100, tmp_path / "ctpa.nii.gz")
    write_image(image_like(labels, nct), tmp_path / "embolus.nii.gz")
    return tmp_path


def crop(scan: Path, folder: str = "out", *, ctpa: bool = True, **config) -> Path:
    crop_patient(
        "p1",
        nct=scan / "nct.nii.gz",
        ctpa_in_nct=scan / "ctpa.nii.gz" if ctpa else None,
        embolus=scan / "embolus.nii.gz",
        folder=scan / folder,
        config=CropConfig(**config),
    )
    return scan / folder


def array(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(read_image(path))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_crops_are_native_voxels_in_their_place(scan):
    out = crop(scan)
    box = read_json(out / "crop.json")
    assert box["start"] == [8, 13, 8]  # 10 mm are two voxels
    assert box["size"] == [54, 34, 34]
    assert box["native_size"] == list(SIZE)
    inside = Box(*(tuple(box[key]) for key in ("start", "size", "native_size"))).slices
    for name in ("nct", "ctpa", "embolus"):
        assert np.array_equal(array(out / f"{name}.nii.gz"), array(scan / f"{name}.nii.gz")[inside])
    native = read_image(scan / "nct.nii.gz")
    origin = native.TransformIndexToPhysicalPoint(box["start"])
    assert read_image(out / "nct.nii.gz").GetOrigin() == pytest.approx(origin, abs=1e-3)


def test_lung_mask_and_facts(scan):
    out = crop(scan)
    facts, lung = read_json(out / "crop.json"), array(out / "lung.nii.gz")
    expected = 30 * 30 * 31 * 0.15  # voxels of 0.15 mL
    assert facts["lung_ml"] == pytest.approx(expected)
    assert facts["lung_parts_ml"] == pytest.approx([expected * 16 / 31, expected * 15 / 31])
    assert lung.sum() * 0.15 == pytest.approx(expected)
    assert facts["lungs_cut_by_scan"] == []
    assert facts["margin_mm"] == 10.0


def test_embolus_outside_the_box_is_reported_and_not_used(scan, caplog):
    out = crop(scan)
    facts = read_json(out / "crop.json")
    assert facts["embolus_ml"] == pytest.approx(4 * 0.15)
    assert facts["embolus_ml_outside"] == pytest.approx(2 * 0.15)
    assert facts["clots_outside"] == [9]
    assert facts["clots_cut"] == []
    assert np.unique(array(out / "embolus.nii.gz")).tolist() == [0, 4]
    assert "patient p1: 0.30 of 0.60 mL of embolus lie outside" in caplog.text


def test_a_clot_on_the_edge_is_cut():
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[1, 1, 0:3] = 7
    facts = embolus_outside(sitk.GetImageFromArray(labels), Box((0, 0, 0), (2, 4, 4), (4, 4, 4)))
    assert facts["clots_cut"] == [7]
    assert facts["clots_outside"] == []
    assert facts["embolus_ml_outside"] == pytest.approx(0.001)


def test_the_box_is_a_function_of_the_nct_alone(scan):
    """Another mask, another CTPA or none: the same box, and the same bytes of everything made from the NCT."""
    first = crop(scan, "first")
    nct = read_image(scan / "nct.nii.gz")
    other = np.zeros(SIZE[::-1], np.uint16)
    other[45:, 50:, 60:] = 3
    write_image(image_like(other, nct), scan / "embolus.nii.gz")
    write_image(image_like(other.astype(np.int16), nct), scan / "ctpa.nii.gz")
    second, third = crop(scan, "second"), crop(scan, "third", ctpa=False)
    for folder in (second, third):
        for name in ("nct.nii.gz", "lung.nii.gz"):
            assert digest(folder / name) == digest(first / name)
        for key in ("start", "size", "native_size", "lung_ml"):
            assert read_json(folder / "crop.json")[key] == read_json(first / "crop.json")[key]
    assert not (third / "ctpa.nii.gz").exists()
    assert digest(second / "embolus.nii.gz") != digest(first / "embolus.nii.gz")


def test_a_patient_who_lost_the_ctpa_keeps_no_crop_of_it(scan):
    assert (crop(scan) / "ctpa.nii.gz").is_file()
    assert not (crop(scan, ctpa=False) / "ctpa.nii.gz").exists()


def test_margin_is_a_setting(scan):
    assert read_json(crop(scan, margin_mm=0) / "crop.json")["start"] == [10, 15, 10]


def test_lungs_cut_by_the_scan_are_told(scan):
    for name in ("nct", "ctpa", "embolus"):
        write_image(read_image(scan / f"{name}.nii.gz")[:, :, 15:], scan / f"{name}.nii.gz")
    assert read_json(crop(scan) / "crop.json")["lungs_cut_by_scan"] == ["inferior"]


def refusal(scan: Path) -> str:
    with pytest.raises(PatientError) as caught:
        crop(scan)
    assert not (scan / "out").exists()
    return str(caught.value)


def test_no_lungs(scan):
    nct = read_image(scan / "nct.nii.gz")
    write_image(sitk.Cast(nct * 0 + 40, sitk.sitkInt16), scan / "nct.nii.gz")
    text = refusal(scan)
    assert "patient p1: no lungs found: 0 mL of lung" in text
    assert str(scan / "nct.nii.gz") in text


@pytest.mark.parametrize("name", ["ctpa", "embolus"])
def test_image_on_another_grid(scan, name):
    path = scan / f"{name}.nii.gz"
    write_image(read_image(path)[:, :, 1:], path)
    text = refusal(scan)
    assert "the image has 70x60x49 voxels" in text
    assert "the NCT has 70x60x50 voxels" in text
    assert str(path) in text


def test_unreadable_nct(scan):
    (scan / "nct.nii.gz").write_bytes(b"")
    assert "cannot be read" in refusal(scan)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "cut"), [("lung_pet_ct_dx/A0001", []), ("lung_pet_ct_dx/A0002", ["inferior"]), ("cip/ct-64Dicom", [])]
)
def test_real_chests(real_data, tmp_path, name, cut):
    nct, _ = read_scan(real_data / name, patient="p1", phase="nct", series_uid="", config=ConvertConfig())
    write_image(nct, tmp_path / "nct.nii.gz")
    write_image(image_like(np.zeros(nct.GetSize()[::-1], np.uint8), nct), tmp_path / "embolus.nii.gz")
    facts = read_json(crop(tmp_path, ctpa=False) / "crop.json")
    inside = Box(*(tuple(facts[key]) for key in ("start", "size", "native_size"))).slices
    assert np.array_equal(array(tmp_path / "out" / "nct.nii.gz"), sitk.GetArrayFromImage(nct)[inside])
    assert facts["lungs_cut_by_scan"] == cut
    assert 180 < facts["size"][0] * nct.GetSpacing()[0] < 320  # mm, a chest's width of lung


def test_vessels_are_cut_to_the_box(scan):
    vessels = np.zeros(SIZE[::-1], np.uint8)
    vessels[20, 25:35, 30:36], vessels[24, 25:35, 30:36] = 1, 2
    write_image(image_like(vessels, read_image(scan / "nct.nii.gz")), scan / "vessels.nii.gz")
    out = crop(scan)
    paths = {"vessels": scan / "vessels.nii.gz", "nct": scan / "nct.nii.gz", "crop": out / "nct.nii.gz"}
    crop_vessels("p1", output=out / "vessels.nii.gz", **paths)
    box = read_json(out / "crop.json")
    inside = Box(*(tuple(box[key]) for key in ("start", "size", "native_size"))).slices
    assert np.array_equal(array(out / "vessels.nii.gz"), vessels[inside])
