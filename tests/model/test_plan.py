import json

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from cpmn.config.convert import ConvertConfig
from cpmn.config.crop import CropConfig
from cpmn.errors import CpmnError
from cpmn.model.plan import Plan, pooling_strides, read_plan, write_plan
from cpmn.scoring.decision import Decision
from cpmn.volume.grid import empty_working_grid, normalise, resample, working_image
from cpmn.volume.images import same_grid


@pytest.fixture
def plan() -> Plan:
    return Plan(
        format=1,
        variant="cpmn",
        fold=0,
        seed=0,
        spacing=(3.0, 3.0, 4.0),
        patch_size=(16, 16, 8),
        channels=(8, 16),
        strides=((2, 2, 2),),
        window_center=45,
        window_scale=20,
        clip=4,
        fingerprint={"patients": 4},
        config={},
        versions={"torch": "2"},
    )


def image(shape=(6, 8, 10), spacing=(1.0, 2.0, 3.0), seed=0) -> sitk.Image:
    made = sitk.GetImageFromArray(np.random.default_rng(seed).normal(0, 100, shape).astype(np.float32))
    made.SetSpacing(spacing)
    made.SetOrigin((-5.0, 7.0, 11.0))
    return made


def test_plan_returns_from_its_file(plan, tmp_path):
    write_plan(plan, tmp_path)
    assert read_plan(tmp_path) == plan


def test_absent_plan(tmp_path):
    with pytest.raises(CpmnError, match=r"is not a model folder: it has no plan\.json"):
        read_plan(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', "\x00"])
def test_damaged_plan(tmp_path, text):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(CpmnError, match=r"plan\.json is not a valid plan.*Train the model again"):
        read_plan(tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"spacing": [3.0, 0.0, 4.0]}, "spacing.1"),
        ({"spacing": [3.0, float("nan"), 4.0]}, "spacing.1"),
        ({"window_scale": float("inf")}, "window_scale"),
        ({"patch_size": [16, 0, 8]}, "patch_size.1"),
        (
            {"patch_size": [15, 16, 8]},
            r"patch_size \(15, 16, 8\) cannot be divided by the strides' product \(2, 2, 2\)",
        ),
        ({"channels": [8]}, "channels"),
        ({"channels": [8, 12]}, "channels.1"),
        ({"strides": [[2, 2, 0]]}, "strides.0.2"),
        ({"strides": []}, "2 levels need 1 strides"),
        ({"window_center": float("nan")}, "window_center"),
        ({"window_scale": 1e-300}, "window_scale"),
        ({"clip": 1e300}, "clip"),
        ({"spacing": [3.0, 1e-3, 4.0]}, "spacing.1"),
        ({"patch_size": [1024, 1024, 1024]}, "patch_size .* has more than 134217728 voxels"),
        ({"channels": [8, 8 * 10**9]}, "channels.1"),
        ({"seed": 2**64}, "seed"),
        ({"fold": -1}, "fold"),
    ],
)
def test_a_plan_that_no_network_can_follow(plan, tmp_path, change, reason):
    (tmp_path / "plan.json").write_text(json.dumps(plan.model_dump(mode="json") | change))
    with pytest.raises(CpmnError, match=rf"plan\.json is not a valid plan: [^\n]*{reason}"):
        read_plan(tmp_path)


@pytest.mark.parametrize("model", [Plan, Decision, CropConfig, ConvertConfig])
def test_every_number_of_a_model_has_limits(model):
    """Of the files and settings that reading a scan depends on."""
    schema = model.model_json_schema()
    without = [
        f"{name}.{field}"
        for name, part in [(model.__name__, schema), *schema.get("$defs", {}).items()]
        for field, values in part.get("properties", {}).items()
        for number in numbers_in(values)
        if not {"minimum", "exclusiveMinimum"} & number.keys() or not {"maximum", "exclusiveMaximum"} & number.keys()
    ]
    assert without == []


def numbers_in(schema):
    if isinstance(schema, list):
        return [number for item in schema for number in numbers_in(item)]
    if not isinstance(schema, dict):
        return []
    own = [schema] if schema.get("type") in ("number", "integer") and "const" not in schema else []
    return own + [number for key, value in schema.items() if key != "default" for number in numbers_in(value)]


def test_isotropic_voxels_are_pooled_alike():
    assert pooling_strides((1, 1, 1), (32, 32, 32), 4) == ((2, 2, 2),) * 3


def test_thick_slices_are_pooled_later():
    assert pooling_strides((1, 1, 5), (32, 32, 8), 4) == ((2, 2, 1), (2, 2, 1), (2, 2, 2))


def test_odd_and_small_axes_are_left_alone():
    assert pooling_strides((1, 1, 1), (32, 15, 32), 2) == ((2, 1, 2),)
    assert pooling_strides((1, 1, 1), (32, 32, 2), 2) == ((2, 2, 1),)


def test_a_patch_too_small_for_its_levels():
    with pytest.raises(CpmnError, match=r"patch_size \(5, 5, 5\) cannot be halved for level 2 of 3"):
        pooling_strides((1, 1, 1), (5, 5, 5), 3)


@given(
    spacing=st.tuples(*[st.floats(0.5, 5)] * 3),
    patch=st.tuples(*[st.sampled_from([8, 16, 24, 40, 48])] * 3),
    levels=st.integers(2, 3),
)
def test_patches_are_divisible_by_their_strides(spacing, patch, levels):
    strides = pooling_strides(spacing, patch, levels)
    total = np.prod(strides, axis=0)
    assert np.all(np.array(patch) % total == 0)
    assert np.all(np.array(patch) // total >= 2)


def test_normalise_known_values():
    hu = np.array([45, 65, 5, 1000, -1000], np.int16)
    assert normalise(hu, 45, 20, 4).tolist() == [0, 1, -2, 4, -4]
    assert normalise(hu, 45, 20, 4).dtype == np.float32


def test_an_image_of_the_working_spacing_keeps_its_voxels():
    original = image()
    working = working_image(original, original.GetSpacing())
    assert np.array_equal(sitk.GetArrayFromImage(working), sitk.GetArrayFromImage(original))
    assert same_grid(working, original)


def test_axes_are_brought_to_lps_order():
    original = image()
    turned = sitk.DICOMOrient(original, "ASR")
    assert turned.GetSize() != original.GetSize()
    working = working_image(turned, original.GetSpacing())
    assert np.array_equal(sitk.GetArrayFromImage(working), sitk.GetArrayFromImage(original))


@settings(max_examples=30)
@given(spacing=st.tuples(*[st.floats(0.7, 6)] * 3))
def test_working_grid_covers_the_image_and_shares_its_centre(spacing):
    original = image()
    grid = empty_working_grid(original, np.array(spacing))
    for axis in range(3):
        extent = original.GetSize()[axis] * original.GetSpacing()[axis]
        covered = grid.GetSize()[axis] * spacing[axis]
        assert extent - 0.01 * spacing[axis] <= covered < extent + spacing[axis]
    centres = [i.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in i.GetSize()]) for i in (original, grid)]
    assert np.allclose(*centres)


def test_a_linear_field_survives_there_and_back():
    z, y, x = np.mgrid[:12, :12, :12].astype(np.float32)
    original = sitk.GetImageFromArray(2 * x + 3 * y - z)
    working = working_image(original, (1.7, 0.6, 2.3))
    back = resample(working, original)
    inner = (slice(4, -4),) * 3
    assert np.allclose(sitk.GetArrayFromImage(back)[inner], sitk.GetArrayFromImage(original)[inner], atol=1e-3)


def test_border_voxels_repeat_beyond_the_border():
    constant = sitk.GetImageFromArray(np.full((5, 5, 5), 50.0, np.float32))
    assert np.allclose(sitk.GetArrayFromImage(working_image(constant, (1.7, 1.7, 1.7))), 50.0)


def test_coarser_voxels_average_noise():
    noise = sitk.GetImageFromArray(np.random.default_rng(0).normal(0, 10, (40, 40, 40)).astype(np.float32))
    assert sitk.GetArrayFromImage(working_image(noise, (3.0, 3.0, 3.0))).std() < 3.0
