"""A real chest and the same chest turned by 20 degrees, with the known transform (ChestImagingPlatform data)."""

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.config.register import RegisterConfig
from cpmn.files import read_json
from cpmn.register.stage import register_patient
from cpmn.volume.images import write_image
from cpmn.volume.transforms import load_transform, transform_points


@pytest.mark.real_data
def test_a_known_rotation_of_a_real_chest_is_found(real_data, tmp_path):
    for name in ("ct-64", "ct-64-transformed"):
        scan = sitk.ReadImage(str(real_data / "cip" / f"{name}.nrrd"), sitk.sitkInt16)
        write_image(scan, tmp_path / f"{name}.nii.gz")
    names = tmp_path / "ct-64.nii.gz", tmp_path / "ct-64-transformed.nii.gz"
    register_patient("real", *names, tmp_path, RegisterConfig(spacing_mm=4.0), threads=1)
    lungs = sitk.ReadImage(str(real_data / "cip" / "wholeLung-64.nrrd"))
    voxels = np.argwhere(sitk.GetArrayFromImage(lungs) > 0)[::53, ::-1]
    points = np.array([lungs.TransformIndexToPhysicalPoint(voxel) for voxel in voxels.tolist()])
    # the published file maps points of the turned scan to those of the original
    truth = sitk.ReadTransform(str(real_data / "cip" / "TranslationRotation.tfm")).GetInverse()
    expected = transform_points(truth, points)
    found = transform_points(load_transform(tmp_path / "affine.mat", tmp_path / "warp.nii.gz"), points)
    assert np.linalg.norm(points - expected, axis=1).mean() > 30
    assert np.linalg.norm(found - expected, axis=1).mean() < 1.0
    quality = read_json(tmp_path / "quality.json")
    assert quality["passed"], quality["reason"]
