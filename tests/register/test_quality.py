"""The verdict over a registration, the first guess, and the ANTs command line."""

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import SimpleITK as sitk
from pydantic import ValidationError

from cpmn.config.register import RegisterConfig
from cpmn.register.ants_engine import THREADS_VARIABLE, ants_arguments, load_ants, threads_in_use
from cpmn.register.prepare import clip, lung_box, lung_centre, prepare, working_image
from cpmn.register.quality import _compare, inverse_error_mm, measure, verdict
from cpmn.register.stage import schedules
from cpmn.register.start import candidate_shifts, correlation, start_transform

GOOD = {
    "lung_coverage": 1.0,
    "lung_dice": 0.97,
    "similarity": 0.9,
    "vessel_overlap": 0.6,
    "inverse_error_mm": 0.05,
    "folding_fraction": 0.0,
}
CONFIG = RegisterConfig()


def block(origin=(0.0, 0.0, 0.0), spacing=(2.0, 2.0, 2.0), size=40, low=10, high=30) -> sitk.Image:
    array = np.zeros((size,) * 3, np.uint8)
    array[low:high, low:high, low:high] = 1
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    return image


def test_a_good_registration_has_no_reason():
    assert verdict(GOOD, CONFIG) == ""


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("lung_dice", 0.5, "lungs do not overlap enough: lung_dice 0.500, limit 0.85"),
        ("lung_dice", None, "lung_dice undefined"),
        ("similarity", 0.1, "inside of the lungs does not match: similarity 0.100"),
        ("lung_coverage", 0.2, "sees too little of the NCT's lungs: lung_coverage 0.200"),
        ("vessel_overlap", 0.05, "the vessels do not match: vessel_overlap 0.050"),
        ("vessel_overlap", None, "the vessels do not match: vessel_overlap undefined"),
        ("inverse_error_mm", 3.0, "the inverse does not lead back: inverse_error_mm 3.00, limit"),
        ("folding_fraction", 0.01, "the transform folds: folding_fraction 0.0100, limit 0.001"),
    ],
)
def test_each_limit_gives_its_reason(name, value, words):
    assert words in verdict(GOOD | {name: value}, CONFIG)


def test_all_reasons_are_told():
    assert verdict(GOOD | {"lung_dice": 0.1, "folding_fraction": 0.5}, CONFIG).count(";") == 1


def test_folding_is_measured(tmp_path):
    z, y, x = np.meshgrid(*[np.arange(40) * 2.0] * 3, indexing="ij")
    hu = np.where(block_array() > 0, -800.0, 0.0) + 50 * np.sin(x / 3) * np.cos(y / 4) * np.sin(z / 5)
    image = sitk.GetImageFromArray(hu.astype(np.float32))
    image.SetSpacing((2.0, 2.0, 2.0))
    side = prepare(image, block(), CONFIG)
    field = sitk.GetImageFromArray(np.stack([-2 * x, 0 * x, 0 * x], axis=-1).astype(np.float32), isVector=True)
    field.SetSpacing((2.0, 2.0, 2.0))
    sitk.WriteImage(field, str(tmp_path / "warp.nii.gz"))  # x -> -x everywhere: the determinant is -1
    sitk.WriteTransform(sitk.AffineTransform(3), str(tmp_path / "affine.mat"))
    sitk.WriteImage(field, str(tmp_path / "inverse.nii.gz"))  # x -> -x is its own inverse
    figures = measure(side, side, *(tmp_path / name for name in ("affine.mat", "warp.nii.gz", "inverse.nii.gz")))
    assert figures["folding_fraction"] == pytest.approx(1.0, abs=0.1)
    assert figures["jacobian_min"] == pytest.approx(-1.0, abs=0.05)
    assert figures["similarity_affine"] == pytest.approx(1.0)
    assert figures["vessel_overlap_affine"] == pytest.approx(1.0)
    assert figures["lung_dice_affine"] == pytest.approx(1.0)


@pytest.mark.parametrize(("back_mm", "error_mm"), [(-3.0, 0.0), (0.0, 3.0), (-1.0, 2.0)])
def test_the_way_there_and_back_is_measured(tmp_path, back_mm, error_mm):
    side = prepare(sitk.Cast(block(), sitk.sitkFloat32) * -800, block(), CONFIG)
    for name, along_x in (("warp", 3.0), ("inverse", back_mm)):
        field = sitk.GetImageFromArray(np.full((60, 60, 60, 3), (along_x, 0, 0), np.float32), isVector=True)
        field.SetOrigin((-20.0, -20.0, -20.0))
        field.SetSpacing((2.0, 2.0, 2.0))
        sitk.WriteImage(field, str(tmp_path / f"{name}.nii.gz"))
    sitk.WriteTransform(sitk.AffineTransform(3), str(tmp_path / "affine.mat"))
    files = (tmp_path / name for name in ("affine.mat", "warp.nii.gz", "inverse.nii.gz"))
    assert inverse_error_mm(side, *files) == pytest.approx(error_mm, abs=1e-3)


def block_array() -> np.ndarray:
    return sitk.GetArrayFromImage(block())


def test_the_box_holds_the_lungs_and_the_margin():
    grid = lung_box(block(origin=(-5.0, 7.0, 100.0)), spacing_mm=3.0, margin_mm=10.0)
    low, size = np.array(grid.GetOrigin()), np.array(grid.GetSize()) * 3.0
    np.testing.assert_allclose(low, np.array([-5.0, 7.0, 100.0]) + 10 * 2 - 1 - 10)
    assert np.all(size >= 20 * 2 + 20)
    assert np.all(size < 20 * 2 + 20 + 3)


def test_contrast_medium_between_the_lungs_does_not_show_and_ribs_do():
    lungs = np.zeros((1, 1, 9), np.uint8)
    lungs[..., [2, 3, 6]] = 1
    hu = np.array([700, -50, -900, 380, 450, 40, -800, 150, -2000], np.float32).reshape(1, 1, 9)
    seen = clip(sitk.GetImageFromArray(hu), sitk.GetImageFromArray(lungs), (-1000.0, 300.0), 100.0)
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(seen).ravel(), [300, -50, -900, 100, 100, 40, -800, 150, -1000]
    )


def test_a_vessel_looks_alike_with_and_without_contrast_medium():
    lungs = block()
    vessel = block_array() * (np.arange(40) % 7 == 0)
    images = [sitk.GetImageFromArray((vessel * hu - 800.0).astype(np.float32)) for hu in (900.0, 1300.0)]
    grid = lung_box(lungs, 3.0, 5.0)
    first, second = (working_image(clip(i, lungs, CONFIG.window_hu, 100.0), grid, -1000.0) for i in images)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(first), sitk.GetArrayFromImage(second))


def test_candidates_align_centres_tops_and_bases():
    fixed, moving = block(), block(origin=(10.0, 20.0, 130.0))
    shorter = block(origin=(10.0, 20.0, 130.0), spacing=(2.0, 2.0, 1.0))
    np.testing.assert_allclose(candidate_shifts(fixed, moving)[0], [10.0, 20.0, 130.0])
    tops = candidate_shifts(fixed, shorter)[1][2]
    assert tops == pytest.approx((130 + 29.5) - 59.0)
    np.testing.assert_allclose(lung_centre(moving) - lung_centre(fixed), [10.0, 20.0, 130.0])


def test_correlation_needs_overlap_and_contrast():
    values = np.arange(100.0)
    assert correlation(values, 2 * values + 1, np.ones(100, bool)) == pytest.approx(1.0)
    assert correlation(values, values, np.arange(100) < 10) == -1.0
    assert correlation(values, np.ones(100), np.ones(100, bool)) == -1.0


def test_first_guess_finds_a_frame_of_reference_100_mm_away():
    rng = np.random.default_rng(0)
    texture = sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(rng.normal(-500, 4000, (40,) * 3)), [3.0] * 3)
    texture.SetSpacing((2.0,) * 3)
    away = sitk.Image(texture)
    away.SetOrigin((100.0, -50.0, 80.0))
    start = start_transform(
        prepare(texture, block(), CONFIG), prepare(away, block(origin=(100.0, -50.0, 80.0)), CONFIG, 20.0)
    )
    np.testing.assert_allclose(start.TransformPoint((30.0, 30.0, 30.0)), (130.0, -20.0, 110.0), atol=1e-6)


def test_arguments_follow_the_configuration():
    config = RegisterConfig(iterations=(7, 5, 3), shrink_factors=(4, 2, 1), metric="CC", radius=2, seed=9)
    text = " ".join(ants_arguments(Path("/w"), config))
    assert "SyN[0.4,3.0,0.5] --metric CC[/w/fixed.nii,/w/moving.nii,1,2] --convergence [7x5x3,0.0005,6]" in text
    assert "--shrink-factors 4x2x1 --smoothing-sigmas 2.0x1.0x0.5" in text
    assert "--random-seed 9" in text
    assert "Random,0.1" in text


def test_threads_are_set_before_ants_is_imported(monkeypatch):
    seen = []
    monkeypatch.delitem(sys.modules, "ants", raising=False)
    monkeypatch.setenv(THREADS_VARIABLE, "7")
    monkeypatch.setattr(importlib, "import_module", lambda name: seen.append((name, os.environ[THREADS_VARIABLE])))
    load_ants(3)
    assert seen == [("ants", "3")]
    assert threads_in_use() == 3


def test_another_number_of_threads_later_only_warns(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "ants", ModuleType("ants"))
    monkeypatch.setenv(THREADS_VARIABLE, "2")
    load_ants(1)
    assert "loaded with 2 threads" in caplog.text
    assert threads_in_use() == 2


def test_levels_must_agree():
    with pytest.raises(ValidationError, match="one value for each resolution level"):
        RegisterConfig(iterations=(10, 10, 10))


def test_the_fallback_overrides_the_schedule_once():
    config = RegisterConfig(spacing_mm=5.0, fallback={"affine_sampling": 1.0})
    found = schedules(config)
    assert list(found) == ["default", "fallback"]
    assert found["default"] is config
    assert (found["fallback"].spacing_mm, found["fallback"].affine_sampling) == (5.0, 1.0)
    assert schedules(found["fallback"]).keys() == {"default"}
    assert schedules(RegisterConfig(fallback={})).keys() == {"default"}


@pytest.mark.parametrize("fallback", [{"iteration": [1, 2]}, {"iterations": [1, 2, 3]}, {"spacing_mm": -1}])
def test_a_wrong_fallback_is_refused(fallback):
    with pytest.raises(ValidationError, match="fallback"):
        RegisterConfig(fallback=fallback)


def test_an_nct_that_cuts_the_lungs_costs_a_perfect_registration_nothing(tmp_path):
    """The same volume as both scans, the NCT without a third of the lungs at either end."""
    lungs = block(size=60, low=10, high=50)
    whole = sitk.GetImageFromArray(np.where(sitk.GetArrayViewFromImage(lungs), -850, 40).astype(np.int16))
    whole.CopyInformation(lungs)
    fixed, moving = (prepare(whole[:, :, z], lungs[:, :, z], CONFIG) for z in (slice(23, 37), slice(None)))
    figures = _compare(fixed, moving, sitk.Transform(3, sitk.sitkIdentity))
    assert figures["lung_dice"] == pytest.approx(1.0)
    assert figures["lung_coverage"] == pytest.approx(1.0)
