"""Resampling alone, with the phantom's exact motion: small clots survive, volumes and overlap are kept."""

from typing import NamedTuple

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.cohort.phantom import phantom_label
from cpmn.config.phantom import PhantomConfig
from cpmn.config.propagate import PropagateConfig
from cpmn.phantom.anatomy import build_anatomy
from cpmn.phantom.scan import grid_image, scan_phase
from cpmn.propagate.labels import CarriedClot, propagate_labels

SMALL_ML = 0.02  # the bar of the project: every clot of 20 mm3 or more survives
CONFIG = PhantomConfig(seed=5, subsample_mm=2.0)


class Case(NamedTuple):
    labels: sitk.Image
    truth: np.ndarray
    nct: sitk.Image
    motion: sitk.Transform
    carried: np.ndarray
    clots: list[CarriedClot]


@pytest.fixture(scope="module")
def case() -> Case:
    number = next(index for index in range(9) if phantom_label(CONFIG.seed, index)) + 1
    anatomy = build_anatomy(CONFIG, f"phantom-{number:03d}")
    nct, ctpa = (scan_phase(CONFIG, anatomy, phase) for phase in ("nct", "ctpa"))
    labels, target = grid_image(ctpa.clots, ctpa.grid), grid_image(nct.clots, nct.grid)
    z, y, x = (np.arange(n) * 4.0 + o - 4 for n, o in zip((70, 66, 92), target.GetOrigin()[::-1], strict=True))
    field = anatomy.motion.displacement(x[None, None, :], y[None, :, None], z[:, None, None]).astype(float)
    image = sitk.GetImageFromArray(field, isVector=True)
    image.SetSpacing((4.0, 4.0, 4.0))
    image.SetOrigin([float(axis[0]) for axis in (x, y, z)])
    motion = sitk.DisplacementFieldTransform(image)
    carried, clots = propagate_labels(labels, target, motion, PropagateConfig())
    return Case(labels, nct.clots, target, motion, sitk.GetArrayFromImage(carried), clots)


def mean_dice(labels: np.ndarray, case: Case) -> float:
    ids = [clot.label for clot in case.clots if clot.source_ml >= SMALL_ML]
    overlaps = [2 * ((labels == i) & (case.truth == i)).sum() for i in ids]
    sizes = [(labels == i).sum() + (case.truth == i).sum() for i in ids]
    return float(np.mean(np.divide(overlaps, sizes)))


def test_every_clot_of_20_mm3_keeps_its_id(case):
    large = [clot for clot in case.clots if clot.source_ml >= SMALL_ML]
    assert len(large) >= 3
    assert all((case.carried == clot.label).any() for clot in large)


def test_the_total_volume_is_kept_within_5_percent(case):
    written, mapped = (sum(getattr(clot, name) for clot in case.clots) for name in ("written_ml", "mapped_ml"))
    assert written == pytest.approx(mapped, rel=0.05)


def test_dice_is_near_that_of_the_best_way(case):
    ours = mean_dice(case.carried, case)
    nearest = sitk.Resample(case.labels, case.nct, case.motion, sitk.sitkNearestNeighbor, 0)
    masks = [sitk.Cast(case.labels == clot.label, sitk.sitkFloat32) for clot in case.clots]
    warped = [sitk.Resample(mask, case.nct, case.motion, sitk.sitkLinear, 0.0) for mask in masks]
    shares = [sitk.GetArrayFromImage(image) for image in warped]
    ids = np.array([0, *(clot.label for clot in case.clots)])
    half = ids[np.argmax(np.stack([np.full(shares[0].shape, 0.5 - 1e-6), *shares]), axis=0)]
    assert ours > 0.5
    assert ours >= 0.95 * max(mean_dice(sitk.GetArrayFromImage(nearest), case), mean_dice(half, case))
