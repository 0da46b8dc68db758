from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

import cpmn.train.objective as objective
from cpmn.config.train import TrainConfig
from cpmn.config.variants import resolve_variant
from cpmn.model.losses import (
    affinity_loss,
    alignment_loss,
    background_ring,
    discrepancy_loss,
    mutual_loss,
    segmentation_loss,
)
from cpmn.model.network import build_pathway
from cpmn.train.objective import AFFINITY_WEIGHT, ALIGNMENT_LEVEL, PARTS, Pathways, training_loss
from cpmn.train.sampling import Batch, PhasePatches
from tests.settings import in_sections, train_config

STRIDES = ((2, 2, 2),)


@pytest.fixture
def config() -> Callable[..., TrainConfig]:
    def make(base: str = "cpmn", **changes: object) -> TrainConfig:
        small = train_config(channels=(8, 8), warmup_fraction=0)
        return resolve_variant(small, "mine", {"mine": {"base": base} | in_sections(**changes)})

    return make


@pytest.fixture
def pathways() -> Pathways:
    return Pathways({"nct": build_pathway((8, 8), STRIDES, 0), "ctpa": build_pathway((8, 8), STRIDES, 1)})


def phase(seed: int, rows: int = 3) -> PhasePatches:
    random = torch.Generator().manual_seed(seed)
    clot = torch.zeros(rows, 1, 8, 8, 8)
    clot[0, 0, 3:5, 3:5, 3:5] = 1
    vessel = (torch.rand(rows, 1, 8, 8, 8, generator=random) > 0.8).float() * (1 - clot)
    return PhasePatches(torch.randn(rows, 1, 8, 8, 8, generator=random), clot, vessel, clot.flatten(1).amax(1))


def test_a_mirrored_ctpa_is_read_from_the_other_side_and_told_from_ours(pathways):
    seen = phase(1)
    batch = Batch(phase(0), seen, [0, 1, 2])
    plain, found = pathways(batch), pathways(replace(batch, mirrored=(2, 4)))
    assert torch.equal(plain["nct"].logits, found["nct"].logits)
    turned = pathways["ctpa"](seen.patches.flip(2, 4))
    assert torch.equal(found["ctpa"].logits, turned.logits.flip(2, 4))
    assert torch.equal(found["ctpa"].class_logit, turned.class_logit)
    for kept in ("features", "deep_logits"):
        for one, other in zip(getattr(found["ctpa"], kept), getattr(turned, kept), strict=True):
            assert torch.equal(one, other.flip(2, 4))


def test_all_parts_add_up(pathways, config):
    settings = config().loss
    parts = training_loss(pathways, Batch(phase(0), phase(1), [0, 1, 2]), config(), 0)
    assert set(parts) == set(PARTS) - {"taught"}  # every pair is outlined
    supervised = sum(
        parts[f"segmentation{s}"]
        + settings.classification_weight * parts[f"classification{s}"]
        + settings.discrepancy_weight * parts[f"discrepancy{s}"]
        for s in ("", "_ctpa")
    )
    alignment = settings.alignment_weight * (parts["alignment"] + AFFINITY_WEIGHT * parts["affinity"])
    expected = supervised + settings.mutual_weight * parts["mutual"] + alignment
    assert parts["total"].item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("base", "absent"),
    [
        ("no_ifa", {"alignment", "affinity"}),
        ("no_ifd", {"discrepancy", "discrepancy_ctpa"}),
        ("no_mutual", {"mutual"}),
        ("cpmn", set()),
    ],
)
def test_switched_off_terms_are_not_computed(base, absent, pathways, config, monkeypatch):
    functions = {
        "alignment": "alignment_loss",
        "affinity": "affinity_loss",
        "discrepancy": "discrepancy_loss",
        "mutual": "mutual_loss",
    }

    def fail(*_):
        raise AssertionError("computed")

    for name in absent & set(functions):
        monkeypatch.setattr(objective, functions[name], fail)
    parts = training_loss(pathways, Batch(phase(0), phase(1), [0, 1, 2]), config(base), 0)
    assert set(PARTS) - set(parts) == absent | {"taught"}


def test_unpaired_patches_take_no_part_in_comparisons(pathways, config):
    nct, ctpa = phase(0), phase(1)
    some = PhasePatches(ctpa.patches[1:2], ctpa.clot[1:2], ctpa.vessel[1:2], ctpa.present[1:2])
    parts = training_loss(pathways, Batch(nct, some, [1]), config(), 0)
    alone = PhasePatches(nct.patches[1:2], nct.clot[1:2], nct.vessel[1:2], nct.present[1:2])
    reference = training_loss(pathways, Batch(alone, some, [0]), config(), 0)
    for name in ("mutual", "alignment", "affinity", "segmentation_ctpa"):
        assert parts[name].item() == pytest.approx(reference[name].item(), rel=1e-4)
    without = training_loss(pathways, Batch(nct, None, []), config(), 0)
    assert set(without) == {"total", "segmentation", "classification", "discrepancy"}
    weights = config().loss
    ours = parts["alignment"] + AFFINITY_WEIGHT * parts["affinity"]
    extra = parts["segmentation_ctpa"] + weights.classification_weight * parts["classification_ctpa"]
    extra += weights.discrepancy_weight * parts["discrepancy_ctpa"]
    extra += weights.mutual_weight * parts["mutual"] + weights.alignment_weight * ours
    assert (parts["total"] - without["total"]).item() == pytest.approx(extra.item() / 3, rel=1e-4)


def test_cross_phase_terms_teach_both_pathways(pathways, config):
    parts = training_loss(pathways, Batch(phase(0), phase(1), [0, 1, 2]), config(), 0)
    for name in ("mutual", "alignment", "affinity"):
        for pathway in pathways.values():
            weight = pathway.stem.convolution.weight
            assert torch.autograd.grad(parts[name], weight, retain_graph=True)[0].abs().sum() > 0


def test_warm_up_holds_the_extra_terms_back(pathways, config):
    settings = config(warmup_fraction=0.5, steps=100)
    batch = Batch(phase(0), phase(1), [0, 1, 2])
    early, late = (training_loss(pathways, batch, settings, step) for step in (0, 60))
    assert early["mutual"].item() == pytest.approx(late["mutual"].item())
    assert early["total"] < late["total"]


def test_a_teacher_gets_no_gradient_from_comparisons(pathways, config):
    parts = training_loss(pathways, Batch(phase(0), phase(1), [0, 1, 2]), config(constant="ctpa"), 0)
    weight = pathways["ctpa"].stem.convolution.weight
    for name in ("mutual", "alignment", "affinity"):
        assert torch.autograd.grad(parts[name], weight, retain_graph=True, allow_unused=True) == (None,)


def test_phases_are_compared_only_where_the_ctpa_reaches(pathways, config):
    nct, ctpa, settings = phase(0), phase(1), config(constant="ctpa")
    half = torch.ones(3, 1, 8, 8, 8)
    half[:, :, :4] = 0

    def compared(reached: torch.Tensor | None) -> dict[str, float]:
        with torch.no_grad():
            parts = training_loss(pathways, Batch(nct, ctpa, [0, 1, 2], reached), settings, 0)
        return {name: parts[name].item() for name in ("mutual", "alignment", "affinity")}

    with torch.no_grad():
        one, two = (pathways[name](p.patches) for name, p in (("nct", nct), ("ctpa", ctpa)))
        levels = slice(ALIGNMENT_LEVEL, None)
        features = (one.features[levels], two.features[levels])
        expected = {
            "alignment": alignment_loss(*features, settings.loss.alignment_tolerance, "ctpa", half),
            "affinity": affinity_loss(one.features[-1], two.features[-1], "ctpa", half),
            "mutual": mutual_loss(one.logits, two.logits, "ctpa", half)
            + mutual_loss(one.class_logit, two.class_logit, "ctpa", torch.full((3,), 0.5)),
        }
    found = compared(half)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value.item(), rel=1e-5), name
    assert compared(torch.ones_like(half)) == pytest.approx(compared(None))
    assert compared(torch.zeros_like(half)) == {"mutual": 0, "alignment": 0, "affinity": 0}


def test_nothing_is_taught_or_contrasted_where_the_ctpa_does_not_reach(pathways, config):
    ctpa, settings = phase(1), config(constant="ctpa")
    half = torch.ones(3, 1, 8, 8, 8)
    half[:, :, :4] = 0  # through the first patch's clot, so that its ring lies on both sides
    ctpa.clot, ctpa.vessel, ctpa.weight = ctpa.clot * half, ctpa.vessel * half, half
    output = pathways["ctpa"](ctpa.patches)
    for level in (output.logits, *output.deep_logits):
        level.retain_grad()
    outputs = {"nct": pathways["nct"](phase(0).patches), "ctpa": output}
    parts = training_loss(lambda _: outputs, Batch(phase(0), ctpa, [0, 1, 2]), settings, 0)
    ring = background_ring(ctpa.clot)
    expected = discrepancy_loss(output.features[0], ctpa.clot, [ring * half, ctpa.vessel * (1 - ring)])
    assert parts["discrepancy_ctpa"].item() == pytest.approx(expected.item(), rel=1e-5)
    parts["segmentation_ctpa"].backward()
    for level in (output.logits, *output.deep_logits):
        unreached, reached = level.grad.split(level.shape[2] // 2, dim=2)
        assert unreached.abs().max() == 0 < reached.abs().max()


def test_nobody_learns_from_what_is_read_on_another_patients_ctpa(pathways, config):
    """The control `shuffled_ctpa` has no more than no information."""
    nct = phase(0)
    nct.known = torch.ones_like(nct.clot)
    nct.known[1] = 0
    batch = Batch(nct, phase(1), [0, 1, 2])
    for base, taught in (("cpmn", True), ("shuffled_ctpa", False)):
        parts = training_loss(pathways, batch, config(base, mutual_weight=0), 0)
        assert ("taught" in parts) == taught


@pytest.mark.parametrize(("part", "one_way"), [("taught", True), ("mutual", False)])
def test_what_no_outline_tells_is_taught_one_way_and_the_rest_is_learnt_from_each_other(
    pathways, config, part, one_way
):
    """Nothing is known of the second patch, so not whether it holds clot; of the third one half is known."""
    nct, ctpa = phase(0), phase(1)
    nct.known = torch.ones_like(nct.clot)
    nct.known[1], nct.known[2, ..., :4] = 0, 0
    nct.weight = nct.known
    outputs = {"nct": pathways["nct"](nct.patches), "ctpa": pathways["ctpa"](ctpa.patches)}
    for output in outputs.values():
        output.logits.retain_grad()
        output.class_logit.retain_grad()
    training_loss(lambda _: outputs, Batch(nct, ctpa, [0, 1, 2]), config(), 0)[part].backward()
    voxels, classes = outputs["nct"].logits.grad, outputs["nct"].class_logit.grad
    assert torch.equal(voxels != 0, nct.known == (0 if one_way else 1))
    assert (classes != 0).tolist() == [not one_way, one_way, not one_way]
    assert (outputs["ctpa"].logits.grad is None) is one_way


def test_phases_that_nothing_compares_cost_no_copy(pathways, config, monkeypatch):
    monkeypatch.setattr(objective, "_rows", lambda *_: pytest.fail("copied"))
    ctpa = phase(1, 1)
    training_loss(pathways, Batch(phase(0), ctpa, [0]), config(alignment_weight=0, mutual_weight=0), 0)


def test_terms_that_are_off_leave_no_node_in_the_graph(pathways, config):
    """The same graph as the supervised loss of each pathway alone: what is off costs nothing."""

    def nodes(total: torch.Tensor) -> int:
        seen, waiting = set(), [total.grad_fn]
        while waiting:
            node = waiting.pop()
            if node is not None and node not in seen:
                seen.add(node)
                waiting += [parent for parent, _ in node.next_functions]
        return len(seen)

    off = config(alignment_weight=0, mutual_weight=0, discrepancy_weight=0)
    one, two = phase(0), phase(1)
    both = nodes(training_loss(pathways, Batch(one, two, [0, 1, 2]), off, 0)["total"])
    swapped = Pathways({"nct": pathways["ctpa"]})
    apart = [nodes(training_loss(p, Batch(b, None, []), off, 0)["total"]) for p, b in ((pathways, one), (swapped, two))]
    assert both == sum(apart)
    assert nodes(training_loss(pathways, Batch(one, two, [0, 1, 2]), config(), 0)["total"]) > both


def test_without_classification_its_head_gets_gradients_of_zero(pathways, config):
    """Several processes wait for the gradient of all that there is an output of."""
    off = config(classification_weight=0, mutual_weight=0)
    parts = training_loss(pathways, Batch(phase(0), phase(1), [0, 1, 2]), off, 0)
    settings = off.loss
    expected = sum(
        parts[f"segmentation{s}"] + settings.discrepancy_weight * parts[f"discrepancy{s}"] for s in ("", "_ctpa")
    )
    expected += settings.alignment_weight * (parts["alignment"] + AFFINITY_WEIGHT * parts["affinity"])
    assert parts["total"].item() == pytest.approx(expected.item(), rel=1e-6)
    parts["total"].backward()
    for pathway in pathways.values():
        for weight in pathway.witness.parameters():
            assert weight.grad is not None
            assert not weight.grad.any()


def test_mixed_precision_stays_close(pathways, config):
    """On CPU the same bfloat16 rules as on CUDA, where mixed precision is used."""
    batch = Batch(phase(0), phase(1), [0, 1, 2])
    full = training_loss(pathways, batch, config(), 0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = training_loss(pathways, batch, config(), 0)
    mixed["total"].backward()
    assert all(torch.isfinite(p.grad).all() for p in pathways["nct"].parameters() if p.grad is not None)
    for name in ("total", "segmentation", "classification", "alignment"):
        assert mixed[name].item() == pytest.approx(full[name].item(), rel=0.05)


def test_what_the_nct_cannot_show_is_not_taught_by_the_peer_either(pathways, config):
    """Without weight, labels, the peer's prediction there and the clot's features leave no trace; elsewhere they do."""
    nct, ctpa = phase(0), phase(1)
    nct.weight = 1 - nct.clot
    settings = config(alignment_weight=0)
    with torch.no_grad():
        blind = training_loss(pathways, Batch(nct, ctpa, [0, 1, 2]), settings, 0)
        seeing = training_loss(pathways, Batch(phase(0), ctpa, [0, 1, 2]), settings, 0)
        outputs = [pathways[name](p.patches) for name, p in (("nct", nct), ("ctpa", ctpa))]
        voxels, patches = (
            mutual_loss(a * w, b * w)
            for a, b, w in (
                (outputs[0].logits, outputs[1].logits, nct.weight),
                (outputs[0].class_logit, outputs[1].class_logit, torch.tensor([0.0, 1.0, 1.0])),
            )
        )
    assert blind["discrepancy"].item() == 0
    assert seeing["discrepancy"].item() > 0
    assert blind["mutual"].item() == pytest.approx((voxels + patches).item(), rel=1e-4)
    assert blind["mutual"] < seeing["mutual"]
    assert blind["discrepancy_ctpa"] == seeing["discrepancy_ctpa"]
    assert blind["segmentation_ctpa"] == seeing["segmentation_ctpa"]


def test_coarser_levels_are_supervised_too(config):
    pathways = Pathways({"nct": build_pathway((8, 8, 8), ((2, 2, 2), (2, 2, 2)), 0)})
    nct = phase(0)
    output = pathways["nct"](nct.patches)
    assert [level.shape[-1] for level in output.deep_logits] == [4, 2]
    found = training_loss(pathways, Batch(nct, None, []), config("nct_only"), 0)["segmentation"].item()
    assert found == pytest.approx(segmentation_loss(output.logits, output.deep_logits, nct.clot).item(), rel=1e-5)
    assert found != pytest.approx(segmentation_loss(output.logits, [], nct.clot).item(), rel=1e-3)


def test_clots_are_set_against_their_ring_and_against_clot_free_vessel_beyond_it(pathways, config):
    nct = phase(0)
    fine = pathways["nct"](nct.patches).features[0]
    ring = background_ring(nct.clot)
    found = training_loss(pathways, Batch(nct, None, []), config("nct_only"), 0)["discrepancy"].item()
    both = discrepancy_loss(fine, nct.clot, [ring, nct.vessel * (1 - ring)]).item()
    assert found == pytest.approx(both, rel=1e-5)
    for other in ([ring], [ring, nct.vessel]):
        assert found != pytest.approx(discrepancy_loss(fine, nct.clot, other).item(), rel=1e-4)


def test_the_tolerance_reaches_the_alignment_below_full_resolution(pathways, config):
    both = {"nct": phase(0), "ctpa": phase(1)}
    batch = Batch(both["nct"], both["ctpa"], [0, 1, 2])
    nct, ctpa = (pathways[name](one.patches).features[ALIGNMENT_LEVEL:] for name, one in both.items())
    strict, lenient = (training_loss(pathways, batch, config(alignment_tolerance=n), 0)["alignment"] for n in (0, 1))
    assert strict.item() == pytest.approx(alignment_loss(nct, ctpa).item(), rel=1e-4)
    assert lenient.item() == pytest.approx(alignment_loss(nct, ctpa, 1).item(), rel=1e-4)
    assert lenient < strict  # the best match within a voxel is no worse than the voxel itself
