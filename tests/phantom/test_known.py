import numpy as np
import pytest

from cpmn.phantom.anatomy import without_emboli
from cpmn.phantom.emboli import draw_volumes
from cpmn.phantom.known import known_of
from cpmn.phantom.materials import blood_hu, draw_haematocrit
from cpmn.scoring.metrics import area


def test_known_is_the_twin_and_does_not_know_the_emboli(scanned):
    known = known_of(scanned.config, scanned.anatomy)
    assert (known.twin == scanned.twin["nct"].clean).all()
    again = known_of(scanned.config, without_emboli(scanned.anatomy))
    assert (again.twin == known.twin).all()
    assert (again.artery == known.artery).all()
    assert (again.noise.sd == known.noise.sd).all()


def test_clots_lie_where_an_observer_looks_for_them(scanned):
    known = known_of(scanned.config, scanned.anatomy)
    changed = scanned.scans["nct"].clean != known.twin
    assert changed.any()
    assert (known.artery[changed] > 0).all()


def test_scan_minus_twin_is_white_after_prewhitening(scanned):
    """The noise model is the one that the scan was made with: whitened residuals have SD 1 and no correlation."""
    known = known_of(scanned.config, scanned.anatomy)
    clean, hu = scanned.scans["nct"].clean, scanned.scans["nct"].hu
    residual = np.where(clean < -900, 0, hu - clean) / known.noise.sd[:, None, None]  # HU are cut off at -1024 in air
    size = residual.shape
    white = np.fft.irfftn(np.fft.rfftn(residual) / np.sqrt(np.maximum(known.noise.power, 1e-3)), s=size, axes=(0, 1, 2))
    body = (clean > -200)[2:-2, 8:-8, 8:-8]
    inner = white[2:-2, 8:-8, 8:-8]
    assert inner[body].std() == pytest.approx(1, abs=0.12)
    pairs = body[:, :, 1:] & body[:, :, :-1]
    assert abs(np.corrcoef(inner[:, :, 1:][pairs], inner[:, :, :-1][pairs])[0, 1]) < 0.08


def test_mean_vessel_hu_does_not_tell_the_label(scanned):
    """Clots of +15 to +35 HU in a patient's arteries move their mean less than the haematocrit does: AUC below 0.6."""
    known, random = known_of(scanned.config, scanned.anatomy), np.random.default_rng(0)
    arteries_ml = known.artery.sum() * known.grid.voxel_ml
    count = 1000
    normal, blood = (np.array([blood_hu(draw_haematocrit(random)) for _ in range(count)]) for _ in range(2))
    clots = [np.array(draw_volumes(random)) for _ in range(count)]
    shift = [(random.uniform(15, 35, len(volumes)) * volumes).sum() / arteries_ml for volumes in clots]
    assert 0.1 < np.mean(shift) < 3
    assert area(np.repeat([0, 1], count), np.concatenate([normal, blood + shift])) < 0.6
