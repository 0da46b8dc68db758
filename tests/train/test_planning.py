import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import cpmn.train.planning as planning
from cpmn.config.train import TrainConfig
from cpmn.errors import CpmnError
from cpmn.model.network import build_pathway
from cpmn.model.plan import pooling_strides
from cpmn.train.objective import Pathways, training_loss
from cpmn.train.planning import check_memory, parameters, planned, training_bytes
from cpmn.train.sampling import Batch, PhasePatches
from tests.settings import train_config

THIN, THICK = (1.5, 1.5, 1.5), (0.8, 0.8, 5.0)
CROP = {"median_size": [180, 140, 120], "median_spacing": [1.5, 1.5, 2.0]}


def kept_bytes(config: TrainConfig, spacing: tuple[float, float, float]) -> int:
    """What PyTorch really keeps for the backward pass, and four copies of the weights."""
    strides = pooling_strides(spacing, config.network.patch_size, len(config.network.channels))
    pathways = Pathways(
        {phase: build_pathway(config.network.channels, strides, 0) for phase in config.network.pathways}
    )
    size = (config.sampling.batch_size, 1, *config.network.patch_size[::-1])
    clot = torch.zeros(size)
    clot[:, :, 2:4, 2:4, 2:4] = 1
    phases = [PhasePatches(torch.randn(size), clot, 1 - clot, torch.ones(size[0])) for _ in range(2)]
    seen: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        batch = Batch(phases[0], phases[1] if len(pathways) > 1 else None, list(range(size[0])))
        losses = training_loss(pathways, batch, config, 10**6)
    assert losses["total"].requires_grad
    weights = sum(w.numel() for pathway in pathways.values() for w in pathway.parameters())
    return sum(seen.values()) + 3 * 4 * weights


@pytest.mark.parametrize(
    ("changes", "spacing"),
    [
        ({}, THIN),
        ({"pathways": ("nct",)}, THIN),
        ({"patch_size": (32, 32, 8), "channels": (16, 32), "batch_size": 2}, THICK),
        ({"patch_size": (48, 48, 48), "batch_size": 1, "pathways": ("nct",)}, THIN),
        ({"alignment_tolerance": 2}, THIN),
        ({"constant": "none"}, THIN),
        ({"alignment_weight": 0, "mutual_weight": 0, "discrepancy_weight": 0}, THIN),
    ],
    ids=[
        *("default", "one pathway", "thick slices", "large patch"),
        *("tolerant alignment", "gradients everywhere", "no term between the pathways"),
    ],
)
def test_the_estimate_is_near_what_is_kept(changes, spacing):
    config = train_config(**changes)
    assert training_bytes(config, spacing) == pytest.approx(kept_bytes(config, spacing), rel=1 / 3)


@pytest.mark.parametrize("changes", [{}, {"patch_size": (48, 48, 48), "batch_size": 1}])
def test_bfloat16_saves_little_where_norms_stay_in_float32(monkeypatch, changes):
    """As CUDA's autocast has it; that of a CPU does not, and is made to."""
    config, norm = train_config(pathways=("nct",), **changes), functional.group_norm
    whole = kept_bytes(config, THIN)

    def float32_norm(patches: Tensor, *settings):
        with torch.autocast("cpu", enabled=False):
            return norm(patches.float(), *settings)

    monkeypatch.setattr(functional, "group_norm", float32_norm)
    with torch.autocast("cpu", torch.bfloat16):
        assert kept_bytes(config, THIN) / whole == pytest.approx(planning.MIXED_SHARE, abs=0.05)


def test_parameters_are_those_of_one_pathway():
    config = TrainConfig()
    pathway = build_pathway(
        config.network.channels, pooling_strides(THIN, config.network.patch_size, len(config.network.channels)), 0
    )
    assert parameters(config, THIN) == sum(weight.numel() for weight in pathway.parameters())


def test_what_is_given_stays_unless_planned():
    assert planned(TrainConfig(), CROP, THIN) == TrainConfig()


@pytest.mark.parametrize("spacing", [THIN, THICK, (2.6, 2.6, 3.5)])
@pytest.mark.parametrize("memory", [0.2, 1.0, 8.0])
def test_a_plan_fits_its_budget_and_the_crop(spacing, memory):
    config = planned(train_config(planned=True, memory_gb=memory), CROP, spacing)
    assert training_bytes(config, spacing) <= memory * 1e9
    extents = [n * s for n, s in zip(config.network.patch_size, spacing, strict=True)]
    assert all(n <= max(m * s, 8 * v) for n, m, s, v in zip(extents, *CROP.values(), spacing, strict=True))
    assert all(n % 8 == 0 for n in config.network.patch_size)
    strides = pooling_strides(spacing, config.network.patch_size, len(config.network.channels))
    assert min(n // math.prod(s[axis] for s in strides) for axis, n in enumerate(config.network.patch_size)) >= 2
    TrainConfig.model_validate(config.model_dump())


def test_more_memory_never_gives_a_smaller_patch():
    budgets = (0.2, 0.5, 1.0, 2.0, 4.0)
    plans = [planned(train_config(planned=True, memory_gb=m), CROP, THIN) for m in budgets]
    voxels = [math.prod(plan.network.patch_size) for plan in plans]
    assert voxels == sorted(voxels)
    assert voxels[-1] > voxels[0]


@pytest.mark.parametrize("memory", [0.3, 2.0, 30.0])
def test_variants_that_are_compared_get_the_same_network(memory):
    """The budget holds the costliest of them, so that the cheaper ones do not grow into it."""
    variants = ({}, {"pathways": ("nct",)}, {"alignment_weight": 0.0}, {"pathways": ("nct",), "alignment_weight": 0.0})
    plans = [planned(train_config(planned=True, memory_gb=memory, **variant), CROP, THIN) for variant in variants]
    assert len({(plan.network.patch_size, plan.network.channels) for plan in plans}) == 1
    assert max(training_bytes(plan, THIN) for plan in plans) <= memory * 1e9


def test_memory_beyond_the_whole_crop_widens_the_network():
    def channels(memory: float) -> tuple[tuple[int, int, int], tuple[int, ...]]:
        plan = planned(train_config(planned=True, memory_gb=memory), CROP, THIN)
        return plan.network.patch_size, plan.network.channels

    whole = (176, 136, 160)  # the crop of 180 x 140 x 120 at 1.5 x 1.5 x 2 mm, in multiples of 8
    assert channels(1000) == (whole, (32, 64, 128, 256, 256))
    patch, widths = channels(2)
    assert math.prod(patch) < math.prod(whole)
    assert widths[0] == 16


def test_a_budget_that_holds_nothing():
    with pytest.raises(CpmnError, match=r"train\.network\.memory_gb 0\.001 holds no network"):
        planned(train_config(planned=True, memory_gb=0.001), CROP, THIN)


def test_a_job_s_own_limit_counts(tmp_path, monkeypatch):
    groups, root = tmp_path / "groups", tmp_path / "root"
    (root / "job/step").mkdir(parents=True)
    groups.write_text("1:name=systemd:/elsewhere\n0::/job/step\n")
    assert planning.job_limit(groups, root) == math.inf
    (root / "job/step/memory.max").write_text("max\n")
    (root / "job/memory.max").write_text("2000000000\n")
    assert planning.job_limit(groups, root) == 2e9
    assert planning.job_limit(tmp_path / "absent", root) == math.inf
    monkeypatch.setattr(planning, "job_limit", lambda: 10**8)
    with pytest.raises(CpmnError, match=r"0\.1 GB are free on cpu"):
        check_memory(train_config(patch_size=(64, 64, 64)), THIN, torch.device("cpu"))


@pytest.mark.parametrize(("bfloat16", "fits"), [(True, True), (False, False)])
def test_bfloat16_takes_a_little_less_of_a_gpu(monkeypatch, bfloat16, fits):
    """No GPU here: its free memory is made up."""
    config = TrainConfig()
    free = int(0.97 * training_bytes(config, THIN))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, free))
    monkeypatch.setattr(planning, "has_bfloat16", lambda _: bfloat16)
    if fits:
        check_memory(config, THIN, torch.device("cuda"))
    else:
        with pytest.raises(CpmnError, match="are free on cuda"):
            check_memory(config, THIN, torch.device("cuda"))


def test_too_little_memory_is_said_before_it_is_taken(monkeypatch):
    memory = type("Memory", (), {"available": 10**8})
    monkeypatch.setattr(planning.psutil, "virtual_memory", lambda: memory)
    config = train_config(patch_size=(64, 64, 64))
    with pytest.raises(CpmnError, match=r"needs about \d+\.\d GB of memory and 0\.1 GB are free on cpu"):
        check_memory(config, THIN, torch.device("cpu"))


def test_processes_of_one_machine_share_its_memory(monkeypatch):
    config = train_config(accumulation=2, processes=2)
    one = training_bytes(config, THIN)
    monkeypatch.setattr(planning.psutil, "virtual_memory", lambda: type("Memory", (), {"available": int(1.5 * one)}))
    check_memory(config.changed(machine={"processes": 1}), THIN, torch.device("cpu"))
    with pytest.raises(CpmnError, match="needs about"):
        check_memory(config, THIN, torch.device("cpu"))
