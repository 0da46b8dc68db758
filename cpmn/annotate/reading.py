"""A CTPA read by networks: what of it becomes an outline, and how doubtful that is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from cpmn.config.annotate import AnnotateConfig
from cpmn.model.inference import TrainedModel, predict_crop
from cpmn.scoring.lesions import components

DOUBTFUL = (0.2, 0.8)
"""Ours: a voxel whose probability lies between is one that the networks do not know."""


@dataclass(frozen=True)
class Doubt:
    """How much a reading is to be doubted: `ml` of voxels that the networks do not know, and why it matters.

    ml : infinite where a patient with PE got no outline at all.
    """

    ml: float
    reason: str


def mean_probability(networks: Sequence[TrainedModel], crop: sitk.Image, overlap: float) -> np.ndarray:
    """Probability of embolus (z, y, x) in a crop of a CTPA (HU), the mean of the `networks`, float32."""
    total = np.zeros(crop.GetSize()[::-1], np.float32)
    for network in networks:
        total += predict_crop(network, crop, overlap=overlap).probability
    return total / np.float32(len(networks))


def sure_pieces(probability: np.ndarray, spacing: tuple[float, ...], config: AnnotateConfig) -> np.ndarray:
    """Pieces (ids from 1, uint16, (z, y, x)) of voxels from `threshold` that are large enough and somewhere `sure`."""
    labels = components(probability >= config.threshold, spacing, config.smallest_mm3)
    if not labels.any():
        return labels.astype(np.uint16)
    peaks = np.zeros(labels.max() + 1)
    np.maximum.at(peaks, labels.ravel(), probability.ravel())
    kept = peaks >= config.sure
    kept[0] = False
    return np.where(kept, np.cumsum(kept), 0).astype(np.uint16)[labels]


def doubt_of(probability: np.ndarray, outline: np.ndarray, voxel_ml: float) -> Doubt:
    """How doubtful the reading of a patient with PE is; `outline` holds its pieces."""
    if not outline.any():
        return Doubt(float("inf"), f"PE, but nothing outlined: highest probability {probability.max():.2f}")
    unknown = float(((probability > DOUBTFUL[0]) & (probability < DOUBTFUL[1])).sum() * voxel_ml)
    return Doubt(unknown, f"{unknown:.2f} mL between probabilities {DOUBTFUL[0]:g} and {DOUBTFUL[1]:g}")
