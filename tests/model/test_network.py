import math

import pytest
import torch

from cpmn.model.network import PRIOR_FLOOR, ConvBlock, build_pathway, pool_evidence

STRIDES = ((2, 2, 1), (2, 2, 2))


@pytest.fixture(scope="module")
def pathway():
    return build_pathway((8, 16, 16), STRIDES, seed=0)


def test_shapes_of_the_output(pathway):
    output = pathway(torch.randn(2, 1, 8, 16, 12))  # z, y, x
    assert output.logits.shape == (2, 1, 8, 16, 12)
    assert [tuple(level.shape[1:]) for level in output.features] == [(8, 8, 16, 12), (16, 8, 8, 6), (16, 4, 4, 3)]
    assert [tuple(level.shape[2:]) for level in output.deep_logits] == [(8, 8, 6), (4, 4, 3)]
    assert output.evidence.shape == (2, 1, 8, 8, 6)
    assert output.class_logit.shape == (2,)


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, same, other = (build_pathway((8, 16), STRIDES[:1], seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["stem.convolution.weight"], other["stem.convolution.weight"])


def test_a_patch_does_not_depend_on_its_batch(pathway):
    patches = torch.randn(3, 1, 8, 8, 8)
    together, alone = pathway(patches), pathway(patches[1:2])
    assert torch.allclose(together.logits[1:2], alone.logits, atol=1e-5)
    assert torch.allclose(together.class_logit[1:2], alone.class_logit, atol=1e-5)


def test_training_starts_near_the_priors(pathway):
    output = pathway(torch.randn(1, 1, 8, 16, 16))
    assert torch.sigmoid(output.logits).mean().item() == pytest.approx(0.01, abs=0.005)
    assert torch.sigmoid(output.class_logit).item() == pytest.approx(0.5, abs=0.1)


def test_classification_does_not_push_the_segmentation_head(pathway):
    pathway.zero_grad()
    pathway(torch.randn(1, 1, 8, 8, 8)).class_logit.sum().backward()
    assert pathway.segment[0].weight.grad is None
    assert pathway.witness.weight.grad.abs().sum() > 0
    assert pathway.stem.convolution.weight.grad.abs().sum() > 0


def test_strides_must_fit_the_levels():
    with pytest.raises(ValueError, match="3 levels need 2 strides"):
        build_pathway((8, 16, 16), STRIDES[:1], seed=0)


def test_pooling_equal_evidence_returns_it():
    evidence = torch.full((2, 1, 3, 4, 5), 1.5)
    assert torch.allclose(pool_evidence(evidence, torch.rand(2, 1, 3, 4, 5)), torch.tensor(1.5))


def test_pooling_of_known_weights():
    evidence = torch.tensor([2.0, -1.0]).view(1, 1, 1, 1, 2)
    prior = torch.tensor([1.0, 0.0]).view(1, 1, 1, 1, 2)
    on, off = 1 + PRIOR_FLOOR, PRIOR_FLOOR
    expected = math.log((on * math.exp(2) + off * math.exp(-1)) / (on + off))
    assert pool_evidence(evidence, prior).item() == pytest.approx(expected, rel=1e-6)


def test_pooling_stays_between_the_extremes_and_does_not_know_the_size():
    evidence, prior = torch.randn(1, 1, 2, 3, 4), torch.rand(1, 1, 2, 3, 4)
    value = pool_evidence(evidence, prior)
    assert evidence.min() < value < evidence.max()
    assert torch.allclose(pool_evidence(evidence.tile(1, 1, 3, 2, 1), prior.tile(1, 1, 3, 2, 1)), value)


def test_guidance_moves_the_logit_to_where_the_segmentation_looks():
    evidence = torch.tensor([3.0, -3.0]).view(1, 1, 1, 1, 2)
    here, there = torch.tensor([1.0, 0.0]).view_as(evidence), torch.tensor([0.0, 1.0]).view_as(evidence)
    assert pool_evidence(evidence, here) > 2.9
    assert pool_evidence(evidence, there) < -2


def test_heads_keep_float32_digits_under_mixed_precision():
    """Values that bfloat16 cannot hold: a head computed in it would return multiples of its steps alone."""
    pathway = build_pathway((8, 16), ((2, 2, 2),), seed=0)
    patches = torch.randn(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        output = pathway(patches)
    for values in (output.logits, output.evidence, *output.deep_logits):
        assert values.dtype == torch.float32
        assert (values != values.bfloat16().float()).float().mean() > 0.9


@pytest.mark.parametrize("absolute", [True, False])
def test_without_norm_the_finest_features_keep_a_patchs_own_hu(absolute):
    """A patch and the same one with three times the contrast: after group norm they are one."""
    stem = build_pathway((8, 16), STRIDES[:1], seed=0, absolute=absolute).stem
    patch = torch.randn(1, 1, 12, 12, 12, generator=torch.Generator().manual_seed(0))
    same = torch.allclose(stem(3 * patch), stem(patch), atol=1e-3)
    assert same is not absolute


def test_mixed_precision_reads_no_memory_that_nobody_wrote():
    """At two slices torch's own bfloat16 gradient takes other values each time, NaN among them."""
    block, random = ConvBlock(16, 16), torch.Generator().manual_seed(0)
    patches = torch.randn(2, 16, 2, 4, 4, generator=random)
    found = []
    for junk in (float("nan"), 1e3, float("nan"), 7.0):
        block.zero_grad()
        for size in (10**4, 10**5, 10**6):
            torch.full((size,), junk)  # freed at once, and what is allocated next is not wiped
        with torch.autocast("cpu", torch.bfloat16):
            block(patches).float().pow(2).sum().backward()
        assert block.convolution.weight.grad is not None
        found.append(block.convolution.weight.grad.clone())
    assert all(torch.equal(found[0], other) for other in found[1:])
