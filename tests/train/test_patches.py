import numpy as np
import pytest

from cpmn.train.patches import cut, voxels_in_patch
from cpmn.train.places import Place, rotation_matrix
from cpmn.train.subjects import Subject
from cpmn.volume.images import AIR_HU

SHAPE = (12, 30, 30)


def place(corner: tuple[int, int, int], **changes) -> Place:
    nothing = np.zeros((0, 3), np.int16)
    empty = np.zeros(SHAPE, np.uint8)
    return Place(Subject("a", 0, empty.astype(np.int16), None, empty, nothing, nothing), corner, "lung", **changes)


def test_flips_mirror_their_axes():
    array = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    straight = cut(array, place((2, 3, 4)), (4, 5, 6), 0)
    assert np.array_equal(straight, array[2:6, 3:8, 4:10])
    for axis in range(3):
        flips = tuple(i == axis for i in range(3))
        assert np.array_equal(cut(array, place((2, 3, 4), flips=flips), (4, 5, 6), 0), np.flip(straight, axis))


def test_patches_beyond_a_small_volume_are_air():
    patch = cut(np.zeros((3, 4, 5), np.int16), place((0, 0, 0)), (4, 4, 6), AIR_HU)
    assert patch.shape == (4, 4, 6)
    assert (patch[:3, :, :5] == 0).all()
    assert (patch[3] == AIR_HU).all()
    assert (patch[..., 5] == AIR_HU).all()


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("corner", [(2, 3, 4), (0, 0, 0), (8, 25, 24)])
def test_the_identity_matrix_changes_nothing(corner, order):
    array = np.random.default_rng(0).integers(-900, 300, SHAPE).astype(np.int16)
    turned = cut(array, place(corner, matrix=np.eye(3)), (4, 5, 6), AIR_HU, order)
    assert np.array_equal(turned, cut(array, place(corner), (4, 5, 6), AIR_HU))
    assert turned.dtype == np.int16


def test_a_quarter_turn_about_z():
    array = np.random.default_rng(0).integers(-900, 300, SHAPE).astype(np.int16)
    matrix = rotation_matrix(np.array([90.0, 0, 0]), 1.0, (1.0, 1.0, 3.0))
    turned = cut(array, place((2, 3, 4), matrix=matrix), (4, 7, 7), AIR_HU)
    straight = cut(array, place((2, 3, 4)), (4, 7, 7), AIR_HU)
    quarters = [np.rot90(straight, k, axes=(1, 2)) for k in (1, 3)]
    assert any(np.array_equal(turned, quarter) for quarter in quarters)


def test_rotation_keeps_lengths_in_mm_on_anisotropic_voxels():
    spacing = (0.7, 0.7, 2.5)
    matrix = rotation_matrix(np.array([20.0, -35.0, 50.0]), 1.0, spacing)
    mm = np.array(spacing[::-1])
    for step in np.eye(3):
        assert np.linalg.norm(matrix @ (step / mm) * mm) == pytest.approx(1)


def test_scaling_enlarges():
    array = np.zeros(SHAPE, np.int16)
    array[4:8, 13:17, 13:17] = 1
    place_of = {factor: place((0, 9, 9), matrix=rotation_matrix(np.zeros(3), factor, (1, 1, 1))) for factor in (1, 1.5)}
    counts = {factor: cut(array, where, (12, 12, 12), 0).sum() for factor, where in place_of.items()}
    assert counts[1] == 64
    assert counts[1.5] == pytest.approx(64 * 1.5**3, rel=0.3)


@pytest.mark.parametrize("flips", [(False, False, False), (True, False, True)])
@pytest.mark.parametrize("degrees", [None, (90.0, 0.0, 0.0)])
def test_voxels_are_found_again_in_the_patch(flips, degrees):
    """A few marked voxels of a volume; the patch shows them where they are said to be, and those alone are named."""
    array, voxels = np.zeros(SHAPE, np.int16), np.array([[5, 10, 12], [4, 14, 9], [0, 0, 0], [6, 13, 15]], np.int16)
    array[tuple(voxels[[0, 1, 3]].T)] = 100, 200, 300
    matrix = None if degrees is None else rotation_matrix(np.array(degrees), 1.0, (1.0, 1.0, 3.0))
    where = place((2, 8, 8), flips=flips, matrix=matrix)
    patch = cut(array, where, (6, 10, 10), 0)
    found = voxels_in_patch(voxels, where, (6, 10, 10))
    assert patch[tuple(found.T)].tolist() == [100, 200, 300]
