"""ANTs transform files through SimpleITK: known answers, and agreement with ANTs itself."""

from tempfile import TemporaryDirectory
from typing import Any

import ants
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from hypothesis import given

from cpmn.errors import CpmnError
from cpmn.volume.transforms import jacobian_determinant, load_inverse_transform, load_transform, transform_points

POINTS = np.random.default_rng(5).uniform(-25, 25, (50, 3))


def smooth_field(amplitude=(3.0, -2.0, 4.0)) -> sitk.Image:
    axis = np.arange(-40, 41, 2.0)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    bump = np.exp(-(x**2 + y**2 + z**2) / 20**2)
    field = sitk.GetImageFromArray(np.stack([a * bump for a in amplitude], axis=-1), isVector=True)
    field.SetSpacing((2.0, 2.0, 2.0))
    field.SetOrigin((-40.0, -40.0, -40.0))
    return field


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """An affine with scaling, shear and shift, and a warp that is a known bump; both as ANTs files."""
    folder = tmp_path_factory.mktemp("transforms")
    matrix = np.array([[1.1, 0.05, 0], [-0.03, 0.95, 0.02], [0, 0.04, 1.05]])
    affine = ants.create_ants_transform(
        transform_type="AffineTransform",
        dimension=3,
        matrix=matrix,
        center=[1.0, 2.0, 3.0],
        translation=[5.0, -7.0, 9.0],
    )
    ants.write_transform(affine, str(folder / "affine.mat"))
    sitk.WriteImage(sitk.Cast(smooth_field(), sitk.sitkVectorFloat32), str(folder / "warp.nii.gz"))
    return folder, matrix


def expected(points, matrix):
    bump = np.exp(-np.sum(points**2, axis=1, keepdims=True) / 20**2)
    centre = np.array([1.0, 2.0, 3.0])
    warped = points + bump * (3.0, -2.0, 4.0)
    return (warped - centre) @ matrix.T + centre + (5.0, -7.0, 9.0)


def test_points_go_through_the_warp_then_the_affine(files):
    folder, matrix = files
    mapped = transform_points(load_transform(folder / "affine.mat", folder / "warp.nii.gz"), POINTS)
    np.testing.assert_allclose(mapped, expected(POINTS, matrix), atol=0.02)  # linear interpolation on 2 mm


def test_points_agree_with_ants(files):
    folder, _ = files
    names = [str(folder / "warp.nii.gz"), str(folder / "affine.mat")]
    frame = pd.DataFrame({axis: POINTS[:, i] for i, axis in enumerate("xyz")})
    theirs = ants.apply_transforms_to_points(3, frame, names)[["x", "y", "z"]].to_numpy()
    ours = transform_points(load_transform(folder / "affine.mat", folder / "warp.nii.gz"), POINTS)
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_resampling_agrees_with_ants(files):
    folder, _ = files
    rng = np.random.default_rng(1)
    moving = sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(rng.normal(0, 100, (40, 44, 48))), [2.0] * 3)
    moving.SetSpacing((1.9, 2.1, 2.3))
    moving.SetOrigin((-45.0, -48.0, -40.0))
    fixed = sitk.Image([30, 28, 26], sitk.sitkFloat32)
    fixed.SetSpacing((2.0, 2.2, 2.4))
    fixed.SetOrigin((-30.0, -31.0, -32.0))
    names = [str(folder / "warp.nii.gz"), str(folder / "affine.mat")]
    theirs: Any = ants.apply_transforms(ants.from_sitk(fixed), ants.from_sitk(moving), names, interpolator="linear")
    transform = load_transform(folder / "affine.mat", folder / "warp.nii.gz")
    ours = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, transform, sitk.sitkLinear, 0.0))
    theirs = sitk.GetArrayFromImage(ants.to_sitk(theirs))
    assert np.abs(ours).max() > 10
    inside = (ours != 0) & (theirs != 0)
    assert inside.mean() > 0.9
    np.testing.assert_allclose(ours[inside], theirs[inside], atol=0.05)


def test_a_registered_translation_points_from_nct_to_ctpa(tmp_path):
    """Moving = fixed shown 6 mm further along x: a fixed point is found at x + 6 in the moving image."""
    rng = np.random.default_rng(2)
    fixed = sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(rng.normal(0, 100, (40, 40, 40))), [3.0] * 3)
    fixed.SetSpacing((2.0, 2.0, 2.0))
    moving = sitk.Image(fixed)
    moving.SetOrigin((6.0, 0.0, 0.0))
    found = ants.registration(
        *(ants.from_sitk(fixed), ants.from_sitk(moving), "SyN"),
        aff_metric="meansquares",
        reg_iterations=(5,),
        outprefix=f"{tmp_path}/",
    )
    assert [name.rsplit("/", 1)[-1] for name in found["fwdtransforms"]] == ["1Warp.nii.gz", "0GenericAffine.mat"]
    affine, warp, inverse = (tmp_path / n for n in ("0GenericAffine.mat", "1Warp.nii.gz", "1InverseWarp.nii.gz"))
    point = np.array([[40.0, 40.0, 40.0]])
    forward = transform_points(load_transform(affine, warp), point)
    np.testing.assert_allclose(forward, [[46.0, 40.0, 40.0]], atol=0.1)
    np.testing.assert_allclose(transform_points(load_inverse_transform(affine, inverse), forward), point, atol=0.1)


def test_inverse_of_an_affine_alone(files):
    folder, _ = files
    forward, backward = load_transform(folder / "affine.mat"), load_inverse_transform(folder / "affine.mat")
    np.testing.assert_allclose(transform_points(backward, transform_points(forward, POINTS)), POINTS, atol=1e-4)


def test_jacobian_of_scaling_is_its_determinant_where_the_warp_is_flat(files):
    folder, matrix = files
    jacobian = sitk.GetArrayFromImage(jacobian_determinant(folder / "affine.mat", folder / "warp.nii.gz"))
    assert jacobian[1, 1, 1] == pytest.approx(np.linalg.det(matrix), rel=1e-3)
    assert jacobian.min() < 0.9 * np.linalg.det(matrix)


@given(hnp.arrays(float, (3, 3), elements=st.floats(-0.3, 0.3)), hnp.arrays(float, 6, elements=st.floats(-300, 300)))
def test_an_affine_file_leads_there_and_back(matrix, shifts):
    affine = sitk.AffineTransform(3)
    affine.SetMatrix((np.eye(3) + matrix.round(3)).ravel().tolist())  # below 1/3 in every entry: never singular
    affine.SetCenter(shifts[:3].round(3).tolist())
    affine.SetTranslation(shifts[3:].round(3).tolist())
    with TemporaryDirectory() as folder:
        path = f"{folder}/affine.mat"
        sitk.WriteTransform(affine, path)
        there = transform_points(load_transform(path), POINTS)
        back = transform_points(load_inverse_transform(path), there)
    np.testing.assert_allclose(there, transform_points(affine, POINTS), atol=1e-2)  # ITK's .mat files hold float32
    np.testing.assert_allclose(back, POINTS, atol=1e-6)


@pytest.mark.parametrize("content", [None, b"", b"not a transform"])
def test_a_missing_or_broken_file_is_named(tmp_path, content):
    path = tmp_path / "affine.mat"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CpmnError, match=r"affine\.mat .*Run the registration of this patient again"):
        load_transform(path)
