"""What a training step costs, variant by variant: the measure of equal compute."""

import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks import nnunet
from benchmarks.evidence import densenet
from benchmarks.evidence.plan import RESULTS, Plan, Run, training_config
from benchmarks.evidence.table import COST_FILE
from benchmarks.train import Step, step_on
from cpmn.config.train import TrainConfig
from cpmn.files import write_text
from cpmn.train.subjects import Case

BASELINE = "nct_only"
VARIANTS = (BASELINE, "nct_nct", "cpmn", "nnunet", "densenet")
REPEATS = 15
SHAPE = (75, 140, 200)  # z, y, x; about a crop at the working grid


def measure_cost(plan: Plan) -> pd.DataFrame:
    """Processor seconds of a step with all terms on, one thread; the variants take turns. Stored as `cost.csv`.

    nnU-Net must be installed, see `benchmarks.nnunet`.
    """
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        steps = {name: _step(_config(plan, name), name, Path(scratch) / name) for name in VARIANTS}
        times: dict[str, list[float]] = {name: [] for name in steps}
        for repeat in range(REPEATS + 1):
            for name, step in steps.items():
                began = time.process_time()
                step()
                if repeat:  # the first one warms up
                    times[name].append(time.process_time() - began)
    table = pd.DataFrame([_row(name, np.array(times[name]), np.array(times[BASELINE])) for name in VARIANTS])
    write_text(RESULTS / COST_FILE, table.to_csv(index=False))
    return table


def _config(plan: Plan, variant: str) -> TrainConfig:
    config = training_config(plan, Run(difficulty="mixed", variant=variant))
    return config.model_copy(update={"warmup_fraction": 0.0, "vessel_fraction": 0.0, "visibility_floor": 1.0})


def _row(name: str, seconds: np.ndarray, baseline: np.ndarray) -> dict[str, object]:
    ratios = seconds / baseline
    return {
        "variant": name,
        "steps": len(seconds),
        "processor_seconds": round(float(np.median(seconds)), 3),
        "seconds_range": f"{seconds.min():.3f} to {seconds.max():.3f}",
        "times_nct_only": round(float(np.median(ratios)), 2),
        "ratio_range": f"{ratios.min():.2f} to {ratios.max():.2f}",
    }


def _step(config: TrainConfig, variant: str, folder: Path) -> Step:
    assert config.spacing is not None
    random = np.random.default_rng(0)
    hu, clot = random.normal(0, 100, SHAPE).astype(np.int16), np.zeros(SHAPE, np.uint8)
    clot[20:26, 30:36, 40:46] = 1
    if variant == "nnunet":
        return nnunet.new_step([((hu / 100).astype(np.float32), clot)] * 2, config, config.spacing, folder)[0]
    if variant == "densenet":
        return densenet.start(torch.rand(2, 1, *densenet.SHAPE), np.array([1, 0]), config)[1]
    places = np.argwhere(np.ones(SHAPE, bool))[::100].astype(np.int16)
    cases = [Case("a", 1, hu, hu, clot, np.argwhere(clot).astype(np.int16), places, spacing=config.spacing)]
    return step_on(cases, config, config.spacing, folder)
