import math
from typing import Any

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional

from cpmn.model.losses import (
    AFFINITY_TEMPERATURE,
    ALIGNMENT_TEMPERATURE,
    MARGIN,
    _affinity,
    _place_entropy,
    _pooled_labels,
    affinity_loss,
    alignment_loss,
    background_ring,
    bernoulli_divergence,
    classification_loss,
    compared,
    dice_loss,
    discrepancy_loss,
    mutual_loss,
    ramp,
    segmentation_loss,
    unit_places,
)


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def features(random: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=random, dtype=torch.double)


def test_dice_of_known_overlap():
    # p = (1, 1, 0, 0), t = (1, 0, 0, 0): 1 - (2 + 1) / (2 + 1 + 1)
    logits = torch.tensor([40.0, 40.0, -40.0, -40.0]).view(1, 1, 1, 2, 2)
    target = torch.tensor([1.0, 0.0, 0.0, 0.0]).view(1, 1, 1, 2, 2)
    assert dice_loss(logits, target).item() == pytest.approx(0.25)


def test_dice_is_zero_for_a_perfect_and_for_an_empty_match():
    target = (torch.arange(8.0) > 4).float().view(1, 1, 2, 2, 2)
    assert dice_loss((target - 0.5) * 200, target).item() == pytest.approx(0, abs=1e-6)
    assert dice_loss(torch.full((1, 1, 2, 2, 2), -100.0), torch.zeros(1, 1, 2, 2, 2)).item() == pytest.approx(0)


def test_dice_pools_the_batch():
    logits = torch.tensor([40.0, -40.0]).view(2, 1, 1, 1, 1)
    target = torch.tensor([1.0, 0.0]).view(2, 1, 1, 1, 1)
    assert dice_loss(logits, target).item() == pytest.approx(0, abs=1e-6)


def test_segmentation_weighs_levels_one_to_a_half():
    target = torch.zeros(1, 1, 4, 4, 4)
    fine, coarse = torch.zeros(1, 1, 4, 4, 4), torch.zeros(1, 1, 2, 2, 2)
    # p = 1/2 everywhere: cross-entropy log 2; Dice 1 - 1 / (n / 2 + 1)
    parts = [math.log(2) + 1 - 1 / (n / 2 + 1) for n in (64, 8)]
    expected = (parts[0] + 0.5 * parts[1]) / 1.5
    assert segmentation_loss(fine, [coarse], target).item() == pytest.approx(expected, rel=1e-6)


def test_weights_scale_both_parts_of_segmentation():
    logits = torch.tensor([40.0, 40.0, -40.0, -40.0], dtype=torch.double).view(1, 1, 1, 2, 2)
    target = torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.double).view(1, 1, 1, 2, 2)
    weight = torch.tensor([0.5, 1.0, 0.25, 1.0], dtype=torch.double).view(1, 1, 1, 2, 2)
    # w p = (0.5, 1, 0, 0), w t = (0.5, 0, 0.25, 0): Dice 1 - (2 x 0.5 + 1) / (1.5 + 0.75 + 1)
    dice, cross_entropy = 1 - 2 / 3.25, (40 * 1 + 40 * 0.25) / 4
    assert dice_loss(logits, target, weight).item() == pytest.approx(dice)
    assert segmentation_loss(logits, [], target, weight).item() == pytest.approx(dice + cross_entropy)
    ones = torch.ones_like(weight)
    coarse = torch.zeros(1, 1, 1, 1, 1, dtype=torch.double)
    weighted, plain = (segmentation_loss(logits, [coarse], target, w) for w in (ones, None))
    assert weighted.item() == pytest.approx(plain.item())


def test_a_coarse_voxel_weighs_as_its_heaviest_clot_voxel():
    target, weight = torch.zeros(1, 1, 2, 2, 4), torch.ones(1, 1, 2, 2, 4)
    target[0, 0, 0, 0, :2], weight[0, 0, 0, 0, 0], weight[0, 0, 0, 0, 1] = 1, 0.2, 0.6
    coarse = torch.tensor([-40.0, -40.0]).view(1, 1, 1, 1, 2)
    fine = (target - 0.5) * 80
    # Dice of the coarse level: 1 - 1 / (0.6 + 1); cross-entropy 40 x 0.6 over two voxels
    expected = 0.5 * (1 - 1 / 1.6 + 12) / 1.5
    assert segmentation_loss(fine, [coarse], target, weight).item() == pytest.approx(expected, rel=1e-5)


def test_a_coarse_voxel_without_clot_weighs_as_the_mean_of_what_it_covers():
    """Where a scan does not reach, no level learns that there is no clot."""
    target, weight = torch.zeros(1, 1, 2, 2, 6), torch.ones(1, 1, 2, 2, 6)
    weight[..., :2], weight[0, 0, 0, :, 2] = 0, 0  # the first coarse voxel not at all, the second to three quarters
    fine = torch.full_like(target, -40.0)
    coarse = torch.zeros(1, 1, 1, 1, 3, requires_grad=True)
    loss = segmentation_loss(fine, [coarse], target, weight)
    # Dice 1 - 1 / (0.75 / 2 + 1 / 2 + 1), cross-entropy log 2 x 1.75 over three voxels; share 1/2 of 3/2
    assert loss.item() == pytest.approx(0.5 * (1 - 1 / 1.875 + math.log(2) * 1.75 / 3) / 1.5, rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, coarse)
    first, second, third = gradient.flatten().tolist()
    assert first == 0
    assert second == pytest.approx(0.75 * third, rel=1e-5)


@pytest.mark.parametrize(("read", "expected"), [(0.01, 0.98), (0.99, 0.98)])
def test_a_coarse_voxel_of_what_a_pathway_reads_weighs_by_its_certainty(read, expected):
    target = torch.full((1, 1, 2, 2, 4), read)
    pooled, weight = _pooled_labels(target, (2 * target - 1).abs(), (1, 1, 2))
    assert pooled.flatten().tolist() == pytest.approx([read, read])
    assert weight is not None
    assert weight.flatten().tolist() == pytest.approx([expected, expected])


def test_a_coarse_voxel_that_is_read_as_clot_weighs_as_its_surest_clot_voxel():
    target = torch.tensor([0.4, 0.6, 0.9, 0.0, 0.1, 0.2, 0.3, 0.4]).view(1, 1, 1, 1, 8)
    _, weight = _pooled_labels(target, (2 * target - 1).abs(), (1, 1, 2))
    assert weight is not None
    assert weight.flatten().tolist() == pytest.approx([0.8, (0.8 + 0.6 + 0.4 + 0.2) / 4])


def test_background_that_a_pathway_is_sure_of_teaches_coarse_levels_too():
    target = torch.full((1, 1, 2, 2, 2), 0.01, dtype=torch.double)
    weight = (2 * target - 1).abs()
    fine, coarse = torch.full_like(target, -40.0), torch.zeros(1, 1, 1, 1, 1, dtype=torch.double)
    wrong, right = (segmentation_loss(fine, [one], target, weight).item() for one in (coarse, coarse - 40))
    dice = [1 - (2 * p * 0.0098 + 1) / (p * 0.98 + 0.0098 + 1) for p in (0.5, 0.0)]
    cross_entropy = [0.98 * math.log(2), 0.98 * 0.01 * 40]
    expected = dice[0] - dice[1] + cross_entropy[0] - cross_entropy[1]
    assert wrong - right == pytest.approx(0.5 * expected / 1.5, rel=1e-6)


def test_a_patch_without_weight_teaches_no_class():
    logits, label = torch.tensor([3.0, -2.0]), torch.tensor([1.0, 1.0])
    alone = classification_loss(logits, label, torch.tensor([0.0, 1.0]))
    assert alone.item() == pytest.approx(math.log(1 + math.exp(2)) / 2)


def test_coarse_targets_keep_a_single_clot_voxel():
    target = torch.zeros(1, 1, 4, 4, 4)
    target[0, 0, 1, 1, 1] = 1
    right, wrong = torch.full((1, 1, 2, 2, 2), -20.0), torch.full((1, 1, 2, 2, 2), -20.0)
    right[0, 0, 0, 0, 0] = 20.0
    fine = (target - 0.5) * 40
    assert segmentation_loss(fine, [right], target) < 1e-6 < segmentation_loss(fine, [wrong], target)


def test_classification_of_an_undecided_patch_costs_log_two():
    assert classification_loss(torch.zeros(2), torch.tensor([0.0, 1.0])).item() == pytest.approx(math.log(2))


def test_divergence_of_known_probabilities():
    teacher, student = torch.tensor([0.75]).logit(), torch.tensor([0.25]).logit()
    expected = 0.75 * math.log(3) + 0.25 * math.log(1 / 3)
    assert bernoulli_divergence(teacher, student).item() == pytest.approx(expected)


def test_mutual_learning_of_known_probabilities():
    """KL between 3/4 and 1/4 is log(3) / 2 either way; both ways add up, and a weight of 1/4 scales half of them."""
    first, second = torch.tensor([0.75, 0.75]).logit(), torch.tensor([0.25, 0.25]).logit()
    assert mutual_loss(first, second).item() == pytest.approx(math.log(3))
    assert mutual_loss(first, second, constant="ctpa").item() == pytest.approx(math.log(3) / 2)
    weighted = mutual_loss(first, second, weight=torch.tensor([1.0, 0.25]))
    assert weighted.item() == pytest.approx(math.log(3) * 5 / 8)


def test_divergence_does_not_grow_with_the_volume():
    small = mutual_loss(torch.zeros(2, 1, 2, 2, 2), torch.ones(2, 1, 2, 2, 2))
    large = mutual_loss(torch.zeros(2, 1, 8, 8, 8), torch.ones(2, 1, 8, 8, 8))
    assert small.item() == pytest.approx(large.item(), rel=1e-6)
    assert small > 0


def test_divergence_survives_saturated_logits():
    first = torch.tensor([200.0, -200.0], requires_grad=True)
    loss = mutual_loss(first, -first.detach())
    (gradient,) = torch.autograd.grad(loss, first)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("loss", [mutual_loss, affinity_loss])
def test_comparisons_are_zero_when_equal_and_symmetric(loss, random):
    first, second = features(random, 2, 3, 4, 4, 4), features(random, 2, 3, 4, 4, 4)
    assert loss(first, first).item() == pytest.approx(0, abs=1e-12)
    assert loss(first, second).item() > 1e-3
    assert loss(first, second).item() == pytest.approx(loss(second, first).item(), abs=1e-12)


@pytest.mark.parametrize("loss", [mutual_loss, affinity_loss, lambda a, b: alignment_loss([a], [b])])
def test_each_side_takes_its_peer_as_constant(loss, random):
    """The gradient at one side is that of the one-way term against a constant peer, so sides never share a gradient."""
    first = features(random, 1, 2, 3, 3, 3).requires_grad_()
    second = features(random, 1, 2, 3, 3, 3).requires_grad_()
    together = torch.autograd.grad(loss(first, second), [first, second])
    alone = torch.autograd.grad(loss(first, second.detach()), first)
    assert torch.allclose(together[0], alone[0])
    assert together[1].abs().sum() > 0


@pytest.mark.parametrize(
    "loss",
    [
        lambda a, b, constant: mutual_loss(a, b, constant=constant),
        lambda a, b, constant: alignment_loss([a], [b], constant=constant),
        lambda a, b, constant: affinity_loss(a, b, constant),
    ],
    ids=["mutual", "alignment", "affinity"],
)
def test_who_is_constant(loss, random):
    first, second = (features(random, 1, 2, 3, 3, 3).requires_grad_() for _ in range(2))

    def gradients(constant: str) -> list[Any]:
        return list(torch.autograd.grad(loss(first, second, constant), [first, second], allow_unused=True))

    taught, peers, free = gradients("ctpa"), gradients("peer"), gradients("none")
    assert taught[1] is None
    assert taught[0] is not None
    assert torch.allclose(taught[0], peers[0])  # the NCT learns the same, whether or not it teaches too
    assert peers[1].abs().sum() > 0
    assert not torch.allclose(free[0], peers[0])
    assert loss(first, second, "ctpa") < loss(first, second, "peer") == loss(first, second, "none")


@pytest.mark.parametrize("constant", ["peer", "ctpa", "none"])
def test_a_symmetric_term_computed_once_has_the_value_and_gradients_of_both_ways(constant, random):
    first, second = (torch.randn(2, 3, 4, generator=random, dtype=torch.double, requires_grad=True) for _ in range(2))

    def term(a, b):
        return (1 - functional.cosine_similarity(a, b, dim=1)).mean()

    once, twice = (compared(term, first, second, constant, symmetric) for symmetric in (True, False))
    assert once.item() == pytest.approx(twice.item())
    gradients = [torch.autograd.grad(value, (first, second), allow_unused=True) for value in (once, twice)]
    for one, two in zip(*gradients, strict=True):
        assert one is two or torch.allclose(one, two)


def test_alignment_by_hand():
    """Two places at opposite sides of their mean: cosine 1 with themselves, -1 with the other; twice, over log 2."""
    first = torch.tensor([[1.0, 3.0], [5.0, 5.0]]).reshape(1, 2, 1, 1, 2)
    one_way = math.log(1 + math.exp(-2 / ALIGNMENT_TEMPERATURE)) / math.log(2)
    assert alignment_loss([first], [first]).item() == pytest.approx(2 * one_way, abs=1e-6)
    swapped = one_way + 2 / ALIGNMENT_TEMPERATURE / math.log(2)
    assert alignment_loss([first], [first.flip(4)]).item() == pytest.approx(2 * swapped, rel=1e-5)
    assert alignment_loss([first, first], [first, first.flip(4)]).item() == pytest.approx(one_way + swapped, rel=1e-5)


def test_alignment_tells_places_apart_and_not_what_they_share(random):
    """Level with chance where nothing tells places apart; what all places have, however much, changes nothing."""
    first = features(random, 1, 8, 4, 4, 4)
    other, same = features(random, 1, 8, 4, 4, 4), torch.ones_like(first)
    assert alignment_loss([first], [same]).item() == pytest.approx(2.0)
    own, another = (alignment_loss([first], [one]).item() for one in (first, other))
    assert own < 0.1 < 2.0 < another
    offset = 50 * features(random, 1, 8, 1, 1, 1)
    assert alignment_loss([first], [first + offset]).item() == pytest.approx(own)


def test_alignment_looks_at_pooled_places_of_a_large_patch_which_do_not_give_a_mirrored_one_away(random):
    """Of 16 voxels along an axis pairs; even and odd voxels belong to the same places from either side."""
    first, second = (features(random, 1, 4, 2, 2, 16) for _ in range(2))
    pooled = [functional.avg_pool3d(one, (1, 1, 2)) for one in (first, second)]
    assert alignment_loss([first], [second]).item() == pytest.approx(alignment_loss(pooled[:1], pooled[1:]).item())
    assert torch.allclose(unit_places(first.flip(4)), unit_places(first).flip(4))


def test_alignment_weighs_places_and_their_means_on_coarser_levels(random):
    first, second = (features(random, 1, 4, 2, 2, 2) for _ in range(2))
    half = torch.tensor([0.25, 0.75]).expand(1, 1, 4, 4, 2).double()  # at twice the features' resolution but for x
    entropy = sum(
        _place_entropy(unit_places(a), unit_places(b), 0) * functional.adaptive_avg_pool3d(half, (2, 2, 2))[:, 0]
        for a, b in ((first, second), (second, first))
    )
    assert isinstance(entropy, torch.Tensor)
    assert alignment_loss([first], [second], weight=half).item() == pytest.approx(entropy.mean().item())
    assert alignment_loss([first], [second], weight=torch.ones_like(half)) == alignment_loss([first], [second])


@pytest.mark.parametrize("axis", [2, 3, 4])
def test_tolerance_forgives_a_shift_of_one_voxel(axis, random):
    """Smooth features, moved by a voxel: the neighbour that they came from is no wrong answer."""
    first = functional.avg_pool3d(features(random, 1, 16, 8, 8, 8), 3, 1)
    second = torch.roll(first, 1, dims=axis)
    strict, lenient = (alignment_loss([first], [second], tolerance).item() for tolerance in (0, 1))
    assert lenient < 0.8 * strict


def test_affinity_by_hand():
    """Two places, at right angles for one pathway, alike for the other: rows (s, 1 - s), s = sigmoid(10), and halves.

    Each row differs by 2 (s - 1/2)^2, and both directions count.
    """
    apart = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).reshape(1, 2, 1, 1, 2)
    alike = torch.ones(1, 2, 1, 1, 2)
    share = 1 / (1 + math.exp(-1 / AFFINITY_TEMPERATURE))
    assert affinity_loss(apart, alike).item() == pytest.approx(4 * (share - 0.5) ** 2, rel=1e-5)


def test_affinity_weighs_places_by_their_mean():
    """As above, the first of the two places weighing nothing: one row of the two is left."""
    apart = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).reshape(1, 2, 1, 1, 2)
    weight = torch.tensor([0.0, 0.0, 1.0, 1.0]).reshape(1, 1, 1, 1, 4)  # at twice the features' resolution
    whole = affinity_loss(apart, torch.ones_like(apart))
    assert affinity_loss(apart, torch.ones_like(apart), weight=weight).item() == pytest.approx(whole.item() / 2)


@pytest.mark.parametrize(
    "loss",
    [affinity_loss, lambda a, b: alignment_loss([a], [b]), lambda a, b: alignment_loss([a], [b], 1)],
    ids=["affinity", "alignment", "tolerant alignment"],
)
def test_features_are_compared_in_float32_under_autocast(loss, random):
    """Places that differ by a hundredth of their features: cosines of bfloat16 would not tell them apart."""
    first, second = (1 + 0.01 * features(random, 2, 8, 6, 6, 6).bfloat16() for _ in range(2))
    exact = loss(first.float(), second.float())
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(first, second)
        assert found.dtype == torch.float32
        assert torch.equal(found, exact)
        assert torch.equal(loss(first, first), loss(first.float(), first.float()))


def test_affinity_ignores_what_keeps_relations():
    """A rotation of the feature space changes features but not how places relate."""
    random = torch.Generator().manual_seed(3)
    first = features(random, 1, 3, 3, 3, 3)
    rotation = torch.linalg.qr(features(random, 3, 3)).Q
    second = torch.einsum("ij,bjzyx->bizyx", rotation, first)
    assert affinity_loss(first, second).item() == pytest.approx(0, abs=1e-12)
    assert alignment_loss([first], [second]).item() > 0.1


def masks() -> tuple[torch.Tensor, torch.Tensor]:
    clot, background = torch.zeros(2, 1, 2, 2, 2), torch.zeros(2, 1, 2, 2, 2)
    clot[0, 0, 0], background[0, 0, 1] = 1, 1
    return clot.double(), background.double()


def test_discrepancy_of_known_angles():
    clot, background = masks()
    same = torch.ones(2, 3, 2, 2, 2, dtype=torch.double)
    assert discrepancy_loss(same, clot, [background]).item() == pytest.approx(1 - MARGIN)
    apart = same.clone()
    apart[:, 0, 0], apart[:, 1:, 0], apart[:, 0, 1] = 1, 0, 0
    assert discrepancy_loss(apart, clot, [background]).item() == 0


def test_discrepancy_skips_patches_without_clot():
    clot, background = masks()
    values = torch.ones(2, 3, 2, 2, 2, dtype=torch.double)
    values[1] = 7.0
    only_first = discrepancy_loss(values[:1], clot[:1], [background[:1]])
    assert discrepancy_loss(values, clot, [background]).item() == pytest.approx(only_first.item())


def test_discrepancy_weighs_patches_by_their_heaviest_clot_voxel():
    """Two patches alike, of weights 1 and 1/4, the second's clot a mixture: their mean is 5/8 of one alone."""
    clot, background = (mask[:1].repeat(2, 1, 1, 1, 1) for mask in masks())
    clot[1] *= torch.tensor([0.25, 0.1], dtype=torch.double)
    same = torch.ones(2, 3, 2, 2, 2, dtype=torch.double)
    assert discrepancy_loss(same, clot, [background]).item() == pytest.approx((1 - MARGIN) * 5 / 8)


def test_discrepancy_counts_backgrounds_that_exist():
    clot, background = masks()
    same = torch.ones(2, 3, 2, 2, 2, dtype=torch.double)
    empty = torch.zeros_like(background)
    assert discrepancy_loss(same, clot, [background, empty]).item() == pytest.approx(1 - MARGIN)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_discrepancy_of_nothing_is_exactly_zero_with_a_finite_gradient(value):
    values = torch.full((2, 3, 2, 2, 2), value, requires_grad=True)
    loss = discrepancy_loss(values, torch.zeros(2, 1, 2, 2, 2), [torch.zeros(2, 1, 2, 2, 2)], margin=0.0)
    (gradient,) = torch.autograd.grad(loss, values)
    assert loss.item() == 0
    assert torch.count_nonzero(gradient) == 0


def test_ring_surrounds_the_clot():
    clot = torch.zeros(1, 1, 9, 9, 9)
    clot[0, 0, 4, 4, 4] = 1
    ring = background_ring(clot, 2)
    assert ring.sum().item() == 5**3 - 1
    assert (ring * clot).sum().item() == 0
    assert background_ring(torch.zeros_like(clot)).sum().item() == 0


def test_ramp_rises_to_one_and_stays():
    values = [ramp(step, 100, 0.2) for step in range(100)]
    assert values[0] == pytest.approx(0.05)
    assert values[19:] == [1.0] * 81
    assert values == sorted(values)
    assert ramp(0, 100, 0.0) == 1.0


@pytest.mark.parametrize(
    "loss",
    [
        lambda a, b: bernoulli_divergence(b, a),
        lambda a, b: mutual_loss(a, b, "none"),
        lambda a, b: mutual_loss(a, b, "none", b.sigmoid()),
        lambda a, b: alignment_loss([a], [b], 0, "none"),
        lambda a, b: alignment_loss([a], [b], 0, "none", b[:, :1].sigmoid()),
        lambda a, b: affinity_loss(a, b, "none"),
        lambda a, b: affinity_loss(a, b, "none", b[:, :1].sigmoid()),
        lambda a, b: _place_entropy(unit_places(a), unit_places(b), 0).mean(),
        lambda a, b: _place_entropy(unit_places(a), unit_places(b), 1).mean(),
        lambda a, b: ((_affinity(a, a.shape[2:]) - _affinity(b, b.shape[2:])) ** 2).sum(-1).mean(),
        lambda a, b: discrepancy_loss(a, (b[:, :1] > 0).double(), [(b[:, :1] < -0.5).double()], margin=-1.0),
        lambda a, b: segmentation_loss(a[:, :1], [], (b[:, :1] > 0).double()),
        lambda a, b: segmentation_loss(a[:, :1], [], (b[:, :1] > 0).double(), b[:, 1:2].sigmoid()),
        lambda a, b: classification_loss(a.flatten(), (b.flatten() > 0).double()),
        lambda a, b: classification_loss(a.flatten(), (b.flatten() > 0).double(), b.flatten().sigmoid()),
    ],
    ids=[
        "divergence",
        "mutual",
        "weighted mutual",
        "alignment",
        "weighted alignment",
        "affinity",
        "weighted affinity",
        "places",
        "places with tolerance",
        "affinity one way",
        "discrepancy",
        "segmentation",
        "weighted segmentation",
        "classification",
        "weighted classification",
    ],
)
def test_gradients_are_those_of_finite_differences(loss, random):
    """One direction of each comparison: finite differences would see through the stop-gradient of the mirror term."""
    first, second = features(random, 2, 3, 2, 3, 2).requires_grad_(), features(random, 2, 3, 2, 3, 2)

    class OneWay(torch.nn.Module):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return loss(values, second)

    assert gradcheck(OneWay(), [first], eps=1e-6, atol=1e-5)
