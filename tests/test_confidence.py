"""Weights of carried labels: high on a matching vessel, low off vessels, 0 where the scans disagree or one is blind."""

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.confidence import confidence_map

IDENTITY = sitk.Transform(3, sitk.sitkIdentity)


def lung_with_vessel(x: int, vessel_hu: float, width: int = 60) -> sitk.Image:
    hu = np.random.default_rng(x).normal(-860, 10, (20, 20, width)).astype(np.float32)
    hu[:, 9:12, x : x + 3] = vessel_hu
    return sitk.GetImageFromArray(hu)


def test_a_matching_vessel_is_trusted_whatever_its_contrast():
    weight = sitk.GetArrayFromImage(confidence_map(lung_with_vessel(20, 45.0), lung_with_vessel(20, 350.0), IDENTITY))
    assert weight[10, 10, 21] > 0.9
    assert weight[10, 10, 40] < 0.05  # far from any vessel
    assert weight.min() >= 0
    assert weight.max() <= 1


def test_a_vessel_that_went_elsewhere_is_not_trusted():
    weight = sitk.GetArrayFromImage(confidence_map(lung_with_vessel(20, 45.0), lung_with_vessel(27, 350.0), IDENTITY))
    assert weight[10, 10, 21] < 0.3


@pytest.mark.parametrize("shift_mm", [30.0, 100.0])
def test_what_the_ctpa_does_not_show_has_no_weight(shift_mm):
    shift = sitk.TranslationTransform(3, (shift_mm, 0.0, 0.0))
    weight = sitk.GetArrayFromImage(confidence_map(lung_with_vessel(50, 45.0), lung_with_vessel(50, 45.0), shift))
    assert weight[:, :, 35:].max() == 0


def central_clot(nct: bool, fat_hu: float, vessel_mm: int = 14) -> tuple[sitk.Image, np.ndarray]:
    """A vessel of this radius in soft tissue, or in fat, with a clot of 6 mm in its middle; voxels of 1 mm."""
    y, x = np.mgrid[:80, :80] - 40
    radius = np.broadcast_to(np.hypot(x, y), (24, 80, 80))
    blood, clot = (40, 65) if nct else (350, 60)
    hu = np.where(radius <= 6, clot, np.where(radius <= vessel_mm, blood, fat_hu))
    noise = np.random.default_rng(nct).normal(0, 12, radius.shape)
    return sitk.GetImageFromArray((hu + noise).astype(np.float32)), radius <= 6


@pytest.mark.parametrize(("surroundings_hu", "least"), [(45.0, 0.9), (-90.0, 0.7)])
def test_a_clot_in_a_central_artery_is_trusted_where_the_scans_fit(surroundings_hu, least):
    nct, clot = central_clot(True, surroundings_hu)
    weight = sitk.GetArrayFromImage(confidence_map(nct, central_clot(False, surroundings_hu)[0], IDENTITY))
    assert weight[clot].mean() > least


def test_what_registration_filled_counts_as_not_shown():
    ctpa = sitk.GetArrayFromImage(lung_with_vessel(20, 350.0))
    ctpa[:10] = -1024
    weight = sitk.GetArrayFromImage(confidence_map(lung_with_vessel(20, 45.0), sitk.GetImageFromArray(ctpa), IDENTITY))
    assert weight[:10].max() == 0
    assert weight[12:, 10, 21].max() > 0.5
