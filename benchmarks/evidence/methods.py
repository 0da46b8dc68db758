"""What a run trains and reads with: this project's network, or a peer of `docs/benchmark.md`.

A method trains into a model folder (`model.safetensors`, `plan.json` with the settings and the number of parameters,
`history.csv`) and gives a reader: NCT crop in HU in, prediction on its voxels out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import SimpleITK as sitk
import torch

from benchmarks.evidence.plan import Inference
from cpmn.config.train import TrainConfig
from cpmn.inference import Prediction, TrainedModel, load_model, predict_case
from cpmn.train.stage import train_fold

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


def _train(material: Material, folder: Path) -> None:
    values: dict[str, Any] = {
        name: getattr(material, name)
        for name in ("variant", "crops", "excluded", "labels", "paired", "config", "threads")
    }
    train_fold(fold=0, splits={"folds": {0: material.parts}}, folder=folder, **values)


def _load(folder: Path, how: Inference) -> Reader:
    model = load_model(folder, "cpu")
    if how.patch_size:
        model = TrainedModel(model.pathway, model.plan.model_copy(update={"patch_size": how.patch_size}), model.device)

    def read(crop: sitk.Image) -> Prediction:
        with torch.autocast("cpu", torch.bfloat16, enabled=how.bfloat16):
            return predict_case(model, crop, overlap=how.overlap, highest_hu=how.highest_hu)

    return read
