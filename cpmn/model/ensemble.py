"""Reading one crop with the models of one or more folds, and bringing the maps back to the native grid."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from cpmn.anatomy.possible import possible
from cpmn.config.evaluate import READING, EvaluateConfig
from cpmn.model.inference import TrainedModel, load_model, model_of, predict_crop
from cpmn.model.modelfiles import ModelFiles, fold_files
from cpmn.model.plan import parse_plan
from cpmn.scoring.decision import Decision, Features, patient_features
from cpmn.volume.box import paste
from cpmn.volume.images import image_like, voxel_ml

MAP_STEPS = 255
"""Maps are stored in so many steps from 0 to 1: all that an eye can tell, in a fraction of the bytes (our choice)."""


@dataclass(frozen=True)
class Reading:
    """What the folds' models make of one crop; maps are float32 (z, y, x) on the crop's grid, means over the folds."""

    probability: np.ndarray
    cam: np.ndarray
    class_probability: float
    features: dict[int, Features]


def load_folds(folder: Path, folds: int, device: str = "auto") -> dict[int, TrainedModel]:
    """Models of `train/{variant}/fold-{k}`. Raises CpmnError as `load_model`."""
    return {fold: load_model(folder / f"fold-{fold}", device) for fold in range(folds)}


def load_sealed(files: ModelFiles, decision: Decision, device: str = "auto") -> dict[int, TrainedModel]:
    """Models by fold of a decision that `cpmn.model.seal.verified` gave. Raises CpmnError as `load_model`."""
    models = {}
    for fold in sorted(decision.folds):
        plan, weights = fold_files(fold)
        where = f"{files.where}: fold-{fold}"
        models[fold] = model_of(parse_plan(files.read(plan), where), files.read(weights), where, device)
    return models


def read_crop(
    models: Mapping[int, TrainedModel],
    nct: sitk.Image,
    settings: EvaluateConfig | Decision,
    lungs: sitk.Image | None = None,
) -> Reading:
    """Mean prediction of `models` (by fold) for an NCT crop in HU, and each fold's own features for the decision.

    `settings` say how scans are read (`READING`) and from where on a voxel is marked. `lungs` is the mask on the crop's
    grid: with `settings.anatomy` there is no embolus where by `cpmn.anatomy.possible` none can be.

    Raises ValueError if `settings.anatomy` is on and there is no mask: the scan would be read otherwise than asked.
    """
    allowed = None
    if settings.anatomy:
        if lungs is None:
            raise ValueError("evaluate.anatomy is on, and needs the mask of the lungs on the crop's grid")
        allowed = possible(nct, lungs)
    options, threshold = settings.model_dump(include=READING - {"anatomy"}), settings.segmentation_threshold
    features: dict[int, Features] = {}
    classes: list[float] = []
    sums: list[np.ndarray] = []
    for fold, model in models.items():  # one fold's maps at a time beside the sums: a chest's are 0.5 GB each
        found = predict_crop(model, nct, allowed=allowed, **options)
        features[fold] = patient_features(found.class_probability, found.probability, voxel_ml(nct), threshold)
        classes.append(found.class_probability)
        maps = [found.probability, found.cam]
        sums = [total + one for total, one in zip(sums, maps, strict=True)] if sums else maps
    probability, cam = (total / np.float32(len(models)) for total in sums)
    return Reading(probability=probability, cam=cam, class_probability=float(np.mean(classes)), features=features)


def on_native(values: np.ndarray, crop: sitk.Image, native: sitk.Image) -> np.ndarray:
    """Map (z, y, x) of a crop on the whole native grid, 0 outside the crop."""
    return sitk.GetArrayFromImage(paste(image_like(values, crop), native))


def stored_map(values: np.ndarray, native: sitk.Image) -> sitk.Image:
    """Image of a map of 0-1 for a file: float32, in steps of 1/255."""
    return image_like(np.round(values * MAP_STEPS) / np.float32(MAP_STEPS), native)
