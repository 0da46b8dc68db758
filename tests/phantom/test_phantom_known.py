import numpy as np
import pytest

from cpmn.phantom.anatomy import without_emboli
from cpmn.phantom.known import known_of, priors_of


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


def test_priors_name_what_is_drawn_once():
    assert [priors_of(name).once_per_patient for name in ("learnable", "mixed", "realistic")] == [False, False, True]
    assert priors_of("learnable").volume_ml[0] == pytest.approx(0.3)
