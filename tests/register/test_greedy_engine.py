"""The second engine: the same files with the same meaning, and a clear message where it is not installed."""

import sys

import hypothesis.strategies as st
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given

from cpmn.config.register import RegisterConfig
from cpmn.errors import MachineError
from cpmn.files import read_json
from cpmn.register.greedy_engine import _lps_affine, _ras_matrix
from cpmn.register.stage import register_patient
from cpmn.volume.transforms import load_inverse_transform, load_transform, transform_points

GREEDY = RegisterConfig(engine="greedy", spacing_mm=4.0)
numbers = st.floats(-50, 50, allow_nan=False, width=32)


@given(st.lists(numbers, min_size=15, max_size=15))
def test_matrices_survive_the_turn_of_axes(values):
    affine = sitk.AffineTransform(3)
    affine.SetMatrix((np.eye(3) * 60 + np.reshape(values[:9], (3, 3))).ravel().tolist())
    affine.SetCenter(values[9:12])
    affine.SetTranslation(values[12:])
    point = np.array([[10.0, -20.0, 30.0]])
    turned = _lps_affine(_ras_matrix(affine))
    np.testing.assert_allclose(transform_points(turned, point), transform_points(affine, point), rtol=1e-6, atol=1e-3)


def test_a_missing_package_is_named(chest_pair, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "picsl_greedy", None)
    with pytest.raises(MachineError, match=r"picsl-greedy is not installed: install it .*, or set register.engine"):
        register_patient("p1", chest_pair.nct, chest_pair.ctpa, tmp_path, GREEDY, threads=1)


def test_greedy_finds_a_known_motion(chest_pair, tmp_path):
    pytest.importorskip("picsl_greedy", reason="picsl-greedy is not installed (extra greedy)")
    register_patient("p1", chest_pair.nct, chest_pair.ctpa, tmp_path, GREEDY, threads=1)
    quality = read_json(tmp_path / "quality.json")
    assert quality["passed"], quality["reason"]
    assert quality["engine"].startswith("picsl-greedy")
    assert quality["folding_fraction"] == 0
    assert quality["inverse_error_mm"] < 0.5
    forward = load_transform(tmp_path / "affine.mat", tmp_path / "warp.nii.gz")
    found, expected = (transform_points(t, chest_pair.lung_points) for t in (forward, chest_pair.motion))
    assert np.linalg.norm(found - expected, axis=1).mean() < 1.5
    backward = load_inverse_transform(tmp_path / "affine.mat", tmp_path / "inverse_warp.nii.gz")
    assert np.linalg.norm(transform_points(backward, found) - chest_pair.lung_points, axis=1).mean() < 0.5
