from functools import cache

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.cohort.phantom import patient_id
from cpmn.config.phantom import PhantomConfig
from cpmn.errors import CpmnError
from cpmn.phantom.anatomy import Anatomy, build_anatomy
from cpmn.phantom.motion import Bell, Motion, Term
from cpmn.phantom.pulmonary import lung_points
from cpmn.phantom.scan import motion_image, phase_grid
from cpmn.phantom.torso import Size

PATIENTS = [patient_id(index) for index in range(6)]


@cache
def built(name: str) -> Anatomy:
    return build_anatomy(PhantomConfig(), name)


@pytest.fixture(scope="module", params=PATIENTS)
def moving(request: pytest.FixtureRequest) -> Anatomy:
    return built(request.param)


def everywhere(step: float = 6.0) -> np.ndarray:
    """Points (n, 3) all over both fields of view and 40 mm beyond."""
    axes = [np.arange(-extent, extent + 1, step) for extent in (210, 160, 170)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def in_lungs(anatomy: Anatomy) -> np.ndarray:
    """NCT points whose CTPA points are lung."""
    points = lung_points(anatomy.lungs, Size(anatomy.scale), np.random.default_rng(5))
    return anatomy.motion.to_nct(points)


def test_jacobian_is_positive_everywhere_in_and_around_the_scans(moving: Anatomy):
    x, y, z = everywhere().T
    determinant = np.linalg.det(moving.motion.jacobian(x, y, z))
    assert determinant.min() > 0.5
    assert determinant.max() < 2


def test_inverse_round_trips(moving: Anatomy):
    points = everywhere(step=15)
    assert np.abs(moving.motion.to_ctpa(moving.motion.to_nct(points)) - points).max() < 1e-5
    assert np.abs(moving.motion.to_nct(moving.motion.to_ctpa(points)) - points).max() < 1e-5


def test_jacobian_is_the_derivative(moving: Anatomy):
    points, h = everywhere(step=30), 1e-4
    matrix = moving.motion.jacobian(*points.T)
    for axis in range(3):
        step = np.eye(3)[axis] * h
        slope = (moving.motion.to_ctpa(points + step) - moving.motion.to_ctpa(points - step)) / (2 * h)
        assert np.abs(matrix[..., axis] - slope).max() < 1e-6


def test_magnitude_is_that_between_two_breath_holds(moving: Anatomy):
    points = in_lungs(moving)
    size = np.linalg.norm(moving.motion.to_ctpa(points) - points, axis=1)
    assert 3 <= size.mean() <= 8
    assert 15 <= size.max() <= 25


def test_motion_is_craniocaudal_and_grows_towards_the_diaphragm(moving: Anatomy):
    points = in_lungs(moving)
    moved = moving.motion.to_ctpa(points) - points
    assert np.abs(moved[:, 2]).mean() > 3 * np.abs(moved[:, :2]).mean()
    size, height = np.linalg.norm(moved, axis=1), points[:, 2] / moving.scale[2]
    thirds = [size[(height >= low) & (height < low + 55)].mean() for low in (-75, -20, 35)]
    assert thirds[0] > 1.5 * thirds[1] > 2 * thirds[2]
    assert height[np.argmax(size)] < -30


def test_spine_hardly_moves(moving: Anatomy):
    line = np.column_stack([np.zeros(30), np.full(30, 70 * moving.scale[1]), np.linspace(-120, 120, 30)])
    assert np.linalg.norm(moving.motion.to_ctpa(line) - line, axis=1).max() < 3


def test_both_directions_of_breathing_occur():
    points = np.array([[60.0, 0, -60]])
    signs = {float(np.sign(built(name).motion.to_ctpa(points)[0, 2] + 60)) for name in PATIENTS}
    assert signs == {-1.0, 1.0}


def test_motion_image_is_a_displacement_field_from_nct_to_ctpa(anatomy: Anatomy, tiny: PhantomConfig, tmp_path):
    image = motion_image(anatomy, phase_grid(tiny, anatomy, "nct"))
    sitk.WriteImage(image, str(tmp_path / "motion.nii.gz"))
    read = sitk.ReadImage(str(tmp_path / "motion.nii.gz"), sitk.sitkVectorFloat64)
    transform = sitk.DisplacementFieldTransform(read)
    for index in [(0, 0, 0), (20, 15, 10), (40, 30, 9), (33, 20, 5)]:
        point = np.array(image.TransformIndexToPhysicalPoint(index))
        expected = anatomy.motion.to_ctpa(point)
        assert np.abs(np.array(transform.TransformPoint(point)) - expected).max() < 1e-3


def test_open_grid_equals_points(anatomy: Anatomy):
    x, y, z = np.linspace(-100, 100, 5), np.linspace(-80, 80, 4), np.linspace(-90, 90, 3)
    grid = anatomy.motion.displacement(x[None, None, :], y[None, :, None], z[:, None, None])
    assert grid.shape == (3, 4, 5, 3)
    point = anatomy.motion.displacement(x[3:4], y[1:2], z[2:3])
    assert grid[2, 1, 3] == pytest.approx(point[0])


def test_a_folding_motion_has_no_inverse():
    bells = (Bell(0, 30), Bell(0, 30), Bell(0, 30))
    folding = Motion((Term((0, 0, 90.0), bells),))
    with pytest.raises(CpmnError, match="could not be inverted"):
        folding.to_nct(np.array([[0.0, 0, 40]]))
