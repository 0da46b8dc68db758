"""What a bundle carries with it, held against what it stands in for."""

import ast

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.data.meta_tensor import MetaTensor

from cpmn.anatomy.lungs import segment_lungs
from cpmn.anatomy.possible import possible
from cpmn.model.exchange import chest as shipped
from cpmn.model.exchange.monaibundle import SCRIPT
from cpmn.volume.box import bounding_box
from cpmn.volume.grid import working_image
from cpmn.volume.images import image_like
from tests.predict.conftest import CLOT_INDEX, chest


def tensor(image):
    """A MetaTensor (1, z, y, x) of an image, its world turned so that axes are along z, y, x."""
    affine = torch.diag(torch.tensor([*image.GetSpacing()[::-1], 1.0], dtype=torch.float64))
    affine[:3, 3] = torch.tensor(image.GetOrigin()[::-1])
    return MetaTensor(torch.from_numpy(sitk.GetArrayFromImage(image).astype(np.float32))[None], affine=affine)


def with_trachea():
    image = chest()
    hu = sitk.GetArrayFromImage(image)
    hu[15:, 33:37, 43:47] = -990
    return image_like(hu, image)


def test_it_needs_torch_and_monai_alone():
    nodes = list(ast.walk(ast.parse(SCRIPT.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    assert {name.split(".")[0] for name in names} == {"collections", "typing", "torch", "monai"}


@pytest.mark.parametrize(
    "spacing",
    [
        *((8.0, 8.0, 8.0), (2.5, 3.0, 7.0), (4.0, 4.0, 5.0), (3.0, 6.5, 12.0)),
        *((4.0009, 3.9991, 5.0), (4.002, 4.0, 5.0)),  # the same but for rounding, and not the same
    ],
)
def test_the_working_grid_is_that_of_predict(spacing):
    image = sitk.Cast(chest(), sitk.sitkFloat32)
    expected, found = working_image(image, spacing), shipped.WorkingGrid(spacing[::-1])(tensor(image))
    np.testing.assert_allclose(found.numpy()[0], sitk.GetArrayFromImage(expected), atol=0.05)
    np.testing.assert_allclose(found.affine[:3, 3].numpy(), expected.GetOrigin()[::-1], atol=1e-3)


@pytest.mark.parametrize("image", [chest(), with_trachea()], ids=["lungs", "lungs and trachea"])
def test_the_box_of_the_lungs_is_that_of_predict(image):
    lungs = shipped.find_lungs(tensor(image))[0].numpy()
    expected = bounding_box(segment_lungs(image))
    found = bounding_box(image_like(lungs.astype(np.uint8), image))
    np.testing.assert_allclose(found.start, expected.start, atol=1)
    np.testing.assert_allclose(found.size, expected.size, atol=1)


def test_a_scan_without_lungs_is_refused():
    image = chest(lung_hu=40)
    with pytest.raises(ValueError, match="No lungs were found"):
        shipped.find_lungs(tensor(image))
    with pytest.raises(ValueError, match="No lungs were found"):
        shipped.find_lungs(tensor(chest()), minimum_ml=9000)


def test_blood_is_measured_between_the_lungs():
    image = chest()
    hu = sitk.GetArrayFromImage(image)
    hu[:, 15:50, 35:56][hu[:, 15:50, 35:56] == 40] = 57
    image = tensor(image_like(hu, image))
    assert shipped.blood_hu(image, shipped.find_lungs(image), 45) == pytest.approx(57, abs=1)
    assert shipped.blood_hu(image, torch.zeros_like(image, dtype=torch.bool).logical_or(image < -2000), 45) == 45


def test_no_embolus_is_in_bone_or_outside_of_the_chest():
    image = chest()
    lungs = shipped.find_lungs(tensor(image))
    allowed = shipped.possible(tensor(image), lungs, None, True)[0].numpy()
    expected = possible(image, segment_lungs(image))
    assert allowed[CLOT_INDEX]
    assert not allowed[:, 54:56, 43:47].any()  # the spine
    assert not allowed[:, 35, :5].any()
    assert 2 * (allowed & expected).sum() > 0.9 * (allowed.sum() + expected.sum())
    assert shipped.possible(tensor(image), lungs, None, False).all()
    assert not shipped.possible(tensor(image), lungs, 60, False)[0].numpy()[CLOT_INDEX]
