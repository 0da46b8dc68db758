import json
import math
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from safetensors.torch import save_file

import cpmn.model.devices as devices
from cpmn.errors import CpmnError
from cpmn.model.inference import CLASS_ML, load_model, pool_volume, predict_crop, predict_volume
from cpmn.model.network import Pathway, PathwayOutput, build_pathway, pool_evidence
from cpmn.model.plan import Plan, write_plan
from cpmn.volume.images import image_like
from tests.anatomy.test_blood import chest

SPACING = (3.0, 3.0, 4.0)  # x, y, z in mm
PATCH = (16, 16, 8)  # x, y, z
STRIDES = ((2, 2, 2), (2, 2, 2))


class Pointwise(Pathway):
    """A stand-in whose logits are the intensities, so that windows must blend to the volume itself."""

    def __init__(self):
        super().__init__((8, 8), ((2, 2, 2),))

    def forward(self, patches):
        evidence = torch.nn.functional.avg_pool3d(patches, 2)
        logit = pool_evidence(evidence, torch.nn.functional.max_pool3d(torch.sigmoid(patches), 2))
        return PathwayOutput(patches, [], [], evidence, logit)


@pytest.fixture
def folder(tmp_path):
    plan = Plan(
        format=1,
        variant="cpmn",
        fold=0,
        seed=0,
        spacing=SPACING,
        patch_size=PATCH,
        channels=(8, 16, 16),
        strides=STRIDES,
        window_center=45,
        window_scale=20,
        clip=4,
        fingerprint={},
        config={},
        versions={},
    )
    write_plan(plan, tmp_path)
    save_file(build_pathway(plan.channels, STRIDES, seed=7).state_dict(), tmp_path / "model.safetensors")
    return tmp_path


@pytest.fixture
def nct() -> sitk.Image:
    made = sitk.GetImageFromArray(np.random.default_rng(0).normal(45, 30, (14, 21, 25)).astype(np.int16))
    made.SetSpacing((2.0, 2.5, 5.0))
    return made


@pytest.mark.parametrize("shape", [(8, 16, 16), (12, 20, 34), (5, 7, 9), (9, 17, 23), (30, 6, 18)])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.8])
def test_windows_blend_to_the_volume(shape, overlap):
    volume = torch.randn(shape)
    output = predict_volume(Pointwise(), volume, SPACING, PATCH, overlap=overlap)
    assert output.probability.shape == output.cam.shape == volume.shape
    assert torch.allclose(output.probability, torch.sigmoid(volume), atol=1e-5)


def test_class_logit_of_a_volume_is_that_of_its_most_suspicious_tissue():
    evidence, prior = torch.full((4, 4, 4), -1.0), torch.full((4, 4, 4), 0.01)
    evidence[0, 0, :2], prior[0, 0, :2] = torch.tensor([2.0, 1.0]), torch.tensor([0.9, 0.5])
    joint = [0.9 / (1 + math.exp(-2)), 0.5 / (1 + math.exp(-1))]
    for voxel_ml, expected in ((CLASS_ML, joint[0]), (CLASS_ML / 2, sum(joint) / 2), (2 * CLASS_ML, joint[0])):
        assert torch.sigmoid(pool_volume(evidence, prior, voxel_ml)).item() == pytest.approx(expected, rel=1e-5)
    assert pool_volume(evidence, prior, 1e-6) < pool_volume(evidence, prior, 1.0)  # no more tissue than there is


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_class_logit_stays_finite(value):
    logit = pool_volume(torch.full((2, 2, 2), 200.0), torch.full((2, 2, 2), value), 1.0)
    assert torch.isfinite(logit)


def test_both_tasks_must_agree():
    evidence, prior = torch.full((2, 2, 2), -9.0), torch.zeros(2, 2, 2)
    both, one = evidence.clone(), evidence.clone()
    both[0, 0, 0] = one[0, 0, 0] = 4.0
    there, elsewhere = prior.clone(), prior.clone()
    there[0, 0, 0] = elsewhere[1, 1, 1] = 1.0
    assert pool_volume(both, there, CLASS_ML) > 2
    assert pool_volume(one, elsewhere, CLASS_ML) < -4


def test_one_window_is_the_network_itself():
    pathway = build_pathway((8, 16, 16), STRIDES, seed=1).eval()
    volume = torch.randn(8, 16, 16)
    direct = pathway(volume[None, None])
    output = predict_volume(pathway, volume, SPACING, PATCH)
    assert torch.allclose(output.probability, torch.sigmoid(direct.logits[0, 0]), atol=1e-6)
    prior = torch.nn.functional.max_pool3d(torch.sigmoid(direct.logits), 2)[0, 0]
    expected = pool_volume(direct.evidence[0, 0], prior, 3 * 3 * 4 * 8 / 1000)
    assert torch.allclose(output.class_logit, expected, atol=1e-5)


def test_map_shows_where_the_evidence_is():
    volume = torch.full((8, 32, 32), -5.0)
    volume[2:6, 4:8, 20:24] = 5.0
    cam = predict_volume(Pointwise(), volume, SPACING, PATCH).cam
    assert cam[3:5, 5:7, 21:23].min() > 0.9
    assert cam[:, 16:].max() < 0.05


def test_overlapping_windows_are_averaged_with_gaussian_weights():
    """Written out for two windows that share half of their columns; at the corners a weight is at least 0.001."""
    pathway = build_pathway((8, 16, 16), STRIDES, seed=1).eval()
    volume = torch.randn(8, 16, 24)
    axes = [torch.exp(-0.5 * ((torch.arange(n) - (n - 1) / 2) / (n / 8)) ** 2) for n in (*volume.shape[:2], 16)]
    weight = torch.einsum("z,y,x->zyx", *axes).clamp_min(1e-3)
    with torch.inference_mode():
        outputs = [pathway(volume[None, None, ..., at : at + 16]) for at in (0, 8)]
    one, other = (torch.sigmoid(output.logits)[0, 0] for output in outputs)
    left, right = weight[..., 8:], weight[..., :8]
    shared = (left * one[..., 8:] + right * other[..., :8]) / (left + right)
    expected = torch.cat([one[..., :8], shared, other[..., 8:]], dim=-1)
    assert torch.allclose(predict_volume(pathway, volume, SPACING, PATCH).probability, expected, atol=1e-6)
    assert not torch.allclose(one[..., 8:], other[..., :8], atol=1e-4)


def test_prediction_lies_on_the_native_grid(folder, nct):
    prediction = predict_crop(load_model(folder), nct)
    for values in (prediction.probability, prediction.cam):
        assert values.shape == (14, 21, 25)
        assert values.dtype == np.float32
        assert 0 <= values.min() <= values.max() <= 1
    assert 0 < prediction.class_probability < 1


def test_prediction_repeats(folder, nct):
    first, second = (predict_crop(load_model(folder), nct) for _ in range(2))
    assert np.array_equal(first.probability, second.probability)
    assert np.array_equal(first.cam, second.cam)
    assert first.class_probability == second.class_probability


def test_prediction_follows_the_orientation_of_the_file(folder):
    voxels = np.random.default_rng(0).normal(45, 30, (12, 20, 24)).astype(np.int16)
    nct = sitk.GetImageFromArray(voxels)
    nct.SetSpacing((3.0, 3.0, 4.0))
    turned = sitk.DICOMOrient(nct, "RAI")
    model = load_model(folder)
    straight, flipped = predict_crop(model, nct), predict_crop(model, turned)
    restored = sitk.GetImageFromArray(flipped.probability)
    restored.CopyInformation(turned)
    assert np.allclose(sitk.GetArrayFromImage(sitk.DICOMOrient(restored, "LPS")), straight.probability, atol=1e-5)


def test_a_window_on_the_blood_reads_two_patients_of_unlike_blood_alike(folder):
    """All HU raised by 12, as by another haematocrit: with a fixed centre the network would see another image."""
    drawn = chest(50.0)
    image = drawn.image(noise_hu=5.0)
    raised = image_like((sitk.GetArrayFromImage(image) + 12).astype(np.int16), image)
    fixed = load_model(folder)
    relative = replace(fixed, plan=fixed.plan.model_copy(update={"blood_window": True}))
    by_model = [[predict_crop(model, scan, overlap=0.0) for scan in (image, raised)] for model in (fixed, relative)]
    change = [np.abs(one.probability - other.probability).max() for one, other in by_model]
    assert change[1] < 1e-6 < change[0]


def test_folder_without_weights(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(CpmnError, match=r"has no model\.safetensors"):
        load_model(folder)


def test_folder_without_plan(tmp_path):
    with pytest.raises(CpmnError, match="is not a model folder"):
        load_model(tmp_path / "nowhere")


def test_cut_weights(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CpmnError, match="cannot be read as safetensors"):
        load_model(folder)


@pytest.mark.parametrize("channels", [[8, 24, 16], [8, 8_000_000, 8_000_000]], ids=["other", "beyond all memory"])
def test_weights_of_another_plan(folder, channels):
    plan = json.loads((folder / "plan.json").read_text())
    (folder / "plan.json").write_text(json.dumps(plan | {"channels": channels}))
    with pytest.raises(CpmnError, match=r"does not fit its plan\.json: .*size mismatch|less than or equal to 2048"):
        load_model(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_of_a_diverged_training(folder, value):
    pathway = build_pathway((8, 16, 16), STRIDES, seed=7)
    pathway.witness.weight.data[0] = value
    save_file(pathway.state_dict(), folder / "model.safetensors")
    with pytest.raises(CpmnError, match=r"model\.safetensors holds weights that are not numbers"):
        load_model(folder)


def test_an_output_that_is_no_number(folder, nct):
    """Finite weights can overflow all the same."""
    model = load_model(folder, "cpu")
    model.pathway.stem.convolution.weight.data.fill_(3e38)
    with pytest.raises(CpmnError, match="output for this scan is not a number"):
        predict_crop(model, nct)


def test_mirroring_makes_the_reading_symmetric(folder):
    """A symmetric volume is read symmetrically, which one reading of an untrained network is not."""
    pathway = load_model(folder).pathway
    half = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (8, 16, 8)).astype(np.float32))
    volume = torch.cat([half, half.flip(-1)], dim=2)
    plain, mirrored = (predict_volume(pathway, volume, SPACING, PATCH, mirror=mirror) for mirror in (False, True))
    for name in ("probability", "cam"):
        once, both = getattr(plain, name), getattr(mirrored, name)
        assert not torch.allclose(once, once.flip(-1), atol=1e-6)
        assert torch.allclose(both, both.flip(-1), atol=1e-6)
        if name == "probability":
            assert torch.allclose(both, (once + once.flip(-1)) / 2, atol=1e-6)


def test_excluded_voxels_are_not_marked_and_say_nothing_for_the_class():
    """A glaring block that is excluded leaves the rest as it is and the class as if the block were dark."""
    volume = torch.full((16, 16, 16), -2.0)
    volume[4:8, 4:8, 4:8] = 1.0
    glaring, dark, block = volume.clone(), volume.clone(), (slice(10, 14),) * 3
    glaring[block], dark[block] = 6.0, -9.0
    excluded = glaring > 5
    seen = predict_volume(Pointwise(), glaring, SPACING, (16, 16, 16), excluded=excluded)
    expected = predict_volume(Pointwise(), dark, SPACING, (16, 16, 16))
    assert not seen.probability[excluded].any()
    assert torch.equal(seen.probability[~excluded], expected.probability[~excluded])
    assert float(seen.class_logit) == pytest.approx(float(expected.class_logit), abs=1e-3)
    plain = predict_volume(Pointwise(), glaring, SPACING, (16, 16, 16))
    assert float(plain.class_logit) > float(seen.class_logit) + 0.5


@pytest.mark.parametrize("shape", [(17, 33, 33), (5, 7, 9)], ids=["not divisible", "smaller than the patch"])
def test_what_the_padding_looks_like_does_not_decide(shape):
    """A network that marks air would else find an embolus in the voxels around a volume that shows none."""
    volume = torch.full(shape, -9.0)
    for background in (-9.0, 9.0):
        reading = predict_volume(Pointwise(), volume, SPACING, PATCH, background=background)
        assert reading.probability.max() < 1e-3
        assert torch.sigmoid(reading.class_logit) < 1e-3


def test_mixed_precision_reads_nearly_the_same(folder, monkeypatch):
    monkeypatch.setattr(devices, "has_bfloat16", lambda _device: True)
    nct = sitk.GetImageFromArray(np.random.default_rng(0).normal(50, 20, (16, 32, 32)).astype(np.float32))
    nct.SetSpacing(SPACING)
    model = load_model(folder, "cpu")
    exact, mixed = predict_crop(model, nct), predict_crop(model, nct, bfloat16=True)
    assert not (mixed.probability == exact.probability).all()
    assert mixed.probability.dtype == np.float32
    assert np.abs(mixed.probability - exact.probability).max() < 0.02
    assert mixed.class_probability == pytest.approx(exact.class_probability, abs=0.02)


def test_nothing_is_found_where_none_is_allowed(folder):
    """Nor does it decide on the patient: without any place left the class is as unlikely as can be."""
    nct = sitk.GetImageFromArray(np.random.default_rng(0).normal(100, 50, (16, 32, 32)).astype(np.float32))
    nct.SetSpacing(SPACING)
    model, allowed = load_model(folder), np.zeros((16, 32, 32), bool)
    allowed[4:12] = True
    limited, nowhere = predict_crop(model, nct, allowed=allowed), predict_crop(model, nct, allowed=allowed & False)
    assert not limited.probability[~allowed].any()
    assert limited.probability[allowed].all()
    assert not nowhere.probability.any()
    assert nowhere.class_probability < limited.class_probability


def test_nothing_is_found_above_the_highest_hu(folder):
    nct = sitk.GetImageFromArray(np.random.default_rng(0).normal(100, 50, (16, 32, 32)).astype(np.float32))
    nct.SetSpacing(SPACING)
    model = load_model(folder)
    limited, free = predict_crop(model, nct, highest_hu=120), predict_crop(model, nct)
    above = sitk.GetArrayFromImage(nct) > 120
    assert not limited.probability[above].any()
    assert free.probability[above].all()
    assert (limited.cam == free.cam).all()
