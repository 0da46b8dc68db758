"""What a run trains and reads with: this project's network, or a peer of `docs/benchmark.md`.

A method trains into a model folder (`model.safetensors`, `plan.json` with the settings and the number of parameters,
`history.csv`) and gives a reader: NCT crop in HU in, prediction on its voxels out.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from torch import nn

from benchmarks.evidence.plan import Inference
from cpmn.config.train import TrainConfig
from cpmn.files import write_json
from cpmn.model.inference import Prediction, TrainedModel, load_model, predict_crop
from cpmn.model.plan import PLAN_FILE, WEIGHTS_FILE
from cpmn.train.stage import HISTORY_FILE, train_fold, write_history, write_weights
from cpmn.train.training import Row

Reader = Callable[[sitk.Image], Prediction]


@dataclass(frozen=True)
class Material:
    """What a training is made from; `split` and `labels` as `train_fold` takes them."""

    variant: str
    parts: dict[str, list[str]]
    crops: Path
    excluded: dict[str, str]
    labels: dict[str, int]
    paired: set[str]
    config: TrainConfig
    threads: int

    def usable(self, part: str) -> list[str]:
        """Patients of `part` (train, validation) that are not excluded."""
        return [name for name in self.parts[part] if name not in self.excluded]


@dataclass(frozen=True)
class Method:
    """`train` writes a model folder, `load` opens it."""

    train: Callable[[Material, Path], None]
    load: Callable[[Path, Inference], Reader]


def method_of(variant: str) -> Method:
    """The method of a run's variant; a peer's packages are imported only here."""
    if variant == "densenet":
        from benchmarks.evidence import densenet

        return Method(densenet.train, densenet.load)
    if variant == "nnunet":
        from benchmarks.evidence import nnunet

        return Method(nnunet.train, nnunet.load)
    return Method(_train, _load)


def run_epochs(
    step: Callable[[], float], config: TrainConfig, begin: Callable[[int], None] = lambda epoch: None
) -> list[Row]:
    """Do a peer's steps, each of which returns its loss; `begin` is told each epoch's number. Rows of `history.csv`."""
    began, rows = time.perf_counter(), []
    for epoch, first in enumerate(range(0, config.steps, config.epoch_steps)):
        begin(epoch)
        last = min(first + config.epoch_steps, config.steps)
        loss = float(np.mean([step() for _ in range(first, last)]))
        rows.append({"epoch": epoch + 1, "step": last, "seconds": time.perf_counter() - began, "train_total": loss})
        print(f"step {last} of {config.steps}, loss {loss:.3f}", flush=True)
    return rows


def write_model(
    folder: Path, config: TrainConfig, network: nn.Module, rows: Sequence[Row], facts: dict[str, Any] | None = None
) -> None:
    """A peer's model folder; `facts` join the settings in `plan.json`."""
    count = sum(weight.numel() for weight in network.parameters())
    settings = {"config": config.model_dump(mode="json"), "parameters": count}
    write_json(folder / PLAN_FILE, settings | (facts or {}))
    write_history(rows, folder / HISTORY_FILE)
    weights = {name: value.clone() for name, value in network.state_dict().items()}  # nnU-Net's has some twice
    write_weights(weights, folder / WEIGHTS_FILE)


def _train(material: Material, folder: Path) -> None:
    train_fold(
        variant=material.variant,
        fold=0,
        splits={"folds": {0: material.parts}},
        crops=material.crops,
        excluded=material.excluded,
        folder=folder,
        config=material.config,
        threads=material.threads,
        labels=material.labels,
        paired=material.paired,
    )


def _load(folder: Path, how: Inference) -> Reader:
    model = load_model(folder, "cpu")
    if how.patch_size:
        model = TrainedModel(model.pathway, model.plan.model_copy(update={"patch_size": how.patch_size}), model.device)

    def read(crop: sitk.Image) -> Prediction:
        return predict_crop(model, crop, overlap=how.overlap, highest_hu=how.highest_hu, bfloat16=how.bfloat16)

    return read
