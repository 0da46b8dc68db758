"""The whole stage on a small pair of chests with a known motion."""

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.config.register import RegisterConfig
from cpmn.errors import PatientError
from cpmn.files import read_json
from cpmn.register.ants_engine import threads_in_use
from cpmn.register.stage import register_patient
from cpmn.volume.images import read_image, same_grid, write_image
from cpmn.volume.transforms import load_inverse_transform, load_transform, transform_points

QUICK = RegisterConfig(spacing_mm=4.0, iterations=(25, 5))
FILES = ("affine.mat", "warp.nii.gz", "inverse_warp.nii.gz", "ctpa_in_nct.nii.gz")


def registered(pair, folder, config=QUICK, **options):
    register_patient("p1", pair.nct, pair.ctpa, folder, config, threads=1, **options)
    return read_json(folder / "quality.json")


def error_mm(transform, pair):
    return np.linalg.norm(
        transform_points(transform, pair.lung_points) - transform_points(pair.motion, pair.lung_points), axis=1
    )


@pytest.fixture(scope="module")
def result(chest_pair, tmp_path_factory):
    folder = tmp_path_factory.mktemp("register")
    return folder, registered(chest_pair, folder)


def test_finds_a_known_motion(chest_pair, result):
    folder, quality = result
    affine = error_mm(load_transform(folder / "affine.mat"), chest_pair).mean()
    deformable = error_mm(load_transform(folder / "affine.mat", folder / "warp.nii.gz"), chest_pair).mean()
    assert deformable < 1.5
    assert deformable < 0.8 * affine
    assert quality["passed"]
    assert quality["reason"] == ""
    assert quality["lung_dice"] > 0.95
    assert quality["similarity"] > quality["similarity_affine"]
    assert quality["folding_fraction"] == 0
    assert 0 < quality["jacobian_min"] < 1 < quality["jacobian_max"]
    assert quality["threads"] == threads_in_use()
    assert quality["seconds"] > 0
    assert quality["schedule"] == "default"
    assert quality["vessel_overlap"] > quality["vessel_overlap_affine"]
    assert quality["inverse_error_mm"] < 0.5


def test_writes_the_ctpa_on_the_native_nct_grid(chest_pair, result):
    folder, _ = result
    nct, warped = read_image(chest_pair.nct), read_image(folder / "ctpa_in_nct.nii.gz")
    assert same_grid(nct, warped)
    assert warped.GetPixelID() == sitk.sitkInt16
    values, lungs = sitk.GetArrayFromImage(warped), sitk.GetArrayFromImage(nct) < -700
    assert values.min() >= -1024
    assert np.median(values[lungs & (values > -1000)]) == pytest.approx(-860, abs=20)
    assert values.max() > 300  # contrast medium is still there


def test_inverse_warp_leads_back(chest_pair, result):
    folder, _ = result
    forward = load_transform(folder / "affine.mat", folder / "warp.nii.gz")
    backward = load_inverse_transform(folder / "affine.mat", folder / "inverse_warp.nii.gz")
    there_and_back = transform_points(backward, transform_points(forward, chest_pair.lung_points))
    assert np.linalg.norm(there_and_back - chest_pair.lung_points, axis=1).mean() < 0.3


def test_picture_is_a_png(result):
    folder, _ = result
    assert (folder / "quality.png").read_bytes().startswith(b"\x89PNG")


def test_same_threads_give_the_same_bytes(chest_pair, result, tmp_path):
    folder, _ = result
    registered(chest_pair, tmp_path)
    for name in (*FILES, "quality.png"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_a_scan_registered_onto_itself_stays(chest_pair, tmp_path):
    same = chest_pair._replace(ctpa=chest_pair.nct)
    quality = registered(same, tmp_path)
    transform = load_transform(tmp_path / "affine.mat", tmp_path / "warp.nii.gz")
    moved = transform_points(transform, chest_pair.lung_points) - chest_pair.lung_points
    assert np.linalg.norm(moved, axis=1).mean() < 0.6  # sampled affine, one eighth of a working voxel
    assert quality["lung_dice"] > 0.97
    assert quality["similarity"] > 0.97


def test_another_scans_field_of_view_is_not_needed_in_full(chest_pair, tmp_path):
    ctpa = read_image(chest_pair.ctpa)
    write_image(ctpa[:, :, 32:], tmp_path / "cut.nii.gz")  # the lowest 96 mm were not scanned
    quality = registered(chest_pair._replace(ctpa=tmp_path / "cut.nii.gz"), tmp_path)
    transform = load_transform(tmp_path / "affine.mat", tmp_path / "warp.nii.gz")
    error = error_mm(transform, chest_pair)
    seen = transform_points(chest_pair.motion, chest_pair.lung_points)[:, 2] > -30
    assert error[seen].mean() < 2.0
    assert 0.4 < quality["lung_coverage"] < 0.95


def test_a_table_100_mm_away_does_no_harm(chest_pair, tmp_path):
    ctpa = read_image(chest_pair.ctpa)
    moved = np.array([100.0, -100.0, 100.0])
    ctpa.SetOrigin((ctpa.GetOrigin() + moved).tolist())
    write_image(ctpa, tmp_path / "moved.nii.gz")
    quality = registered(chest_pair._replace(ctpa=tmp_path / "moved.nii.gz"), tmp_path)
    transform = load_transform(tmp_path / "affine.mat", tmp_path / "warp.nii.gz")
    expected = transform_points(chest_pair.motion, chest_pair.lung_points) + moved
    found = transform_points(transform, chest_pair.lung_points)
    assert np.linalg.norm(found - expected, axis=1).mean() < 1.5
    assert quality["passed"]
    assert quality["schedule"] == "default"


@pytest.fixture(scope="module")
def mirrored(chest_pair, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mirrored")
    ctpa = read_image(chest_pair.ctpa)
    image = sitk.GetImageFromArray(np.ascontiguousarray(sitk.GetArrayFromImage(ctpa)[:, :, ::-1]))
    image.CopyInformation(ctpa)
    write_image(image, folder / "mirrored.nii.gz")
    return chest_pair._replace(ctpa=folder / "mirrored.nii.gz")


def test_a_mirrored_scan_does_not_pass_in_two_tries(mirrored, tmp_path, caplog):
    quality = registered(mirrored, tmp_path, QUICK.model_copy(update={"fallback": {"seed": 5}}))
    assert not quality["passed"]
    assert "the inside of the lungs does not match" in quality["reason"]
    assert (quality["schedule"], quality["seed"]) == ("fallback", 5)
    assert "p1: schedule default: the inside of the lungs does not match" in caplog.text
    assert (tmp_path / "warp.nii.gz").is_file()


def test_a_pair_that_must_pass_stops_with_the_reason(mirrored, tmp_path):
    config = QUICK.model_copy(update={"fallback": {}})
    with pytest.raises(PatientError, match=r"patient p1: the registration is not good enough: the inside of the lungs"):
        register_patient("p1", mirrored.nct, mirrored.ctpa, tmp_path, config, threads=1, must_pass=True)
    assert not read_json(tmp_path / "quality.json")["passed"]


def test_another_patients_scan_does_not_pass(chest_pair, tmp_path):
    config = QUICK.model_copy(update={"fallback": {}})
    quality = registered(chest_pair._replace(ctpa=chest_pair.stranger), tmp_path, config)
    assert quality["lung_dice"] > 0.95  # the lungs alone would not tell
    assert not quality["passed"]
    assert "does not match" in quality["reason"] or "do not match" in quality["reason"]


def test_a_second_schedule_saves_a_pair(chest_pair, tmp_path):
    strict = QUICK.model_copy(update={"minimum_lung_dice": 1.0, "fallback": {"minimum_lung_dice": 0.85}})
    quality = registered(chest_pair, tmp_path, strict)
    assert quality["passed"]
    assert quality["schedule"] == "fallback"


def test_a_scan_without_lungs_is_named(chest_pair, tmp_path):
    nct = read_image(chest_pair.nct)
    write_image(sitk.Cast(nct * 0, sitk.sitkInt16), tmp_path / "water.nii.gz")
    with pytest.raises(PatientError, match=r"patient p1: no lungs to register.*water.nii.gz"):
        registered(chest_pair._replace(ctpa=tmp_path / "water.nii.gz"), tmp_path)


def test_the_least_volume_of_lungs_is_that_of_the_crop(chest_pair, tmp_path):
    with pytest.raises(PatientError, match=r"at least 9000 mL are expected.*lower crop\.minimum_lung_ml"):
        registered(chest_pair, tmp_path, minimum_lung_ml=9000.0)


def test_a_missing_scan_is_named(chest_pair, tmp_path):
    with pytest.raises(PatientError, match=r"patient p1: a scan cannot be read.*absent.nii.gz"):
        registered(chest_pair._replace(nct=tmp_path / "absent.nii.gz"), tmp_path)
