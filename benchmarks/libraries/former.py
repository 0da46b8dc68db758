"""Code of ours that a library has replaced, kept to be measured beside it."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from scipy import ndimage, stats
from torch import Tensor
from torch.nn import functional

from cpmn.model.network import Pathway


def windows(pathway: Pathway, padded: Tensor, patch: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Probability (z, y, x) and evidence at half size of windows that overlap by half, with Gaussian weights."""
    stride = pathway.strides[0]
    axes = [torch.exp(-0.5 * ((torch.arange(n) - (n - 1) / 2) / (n / 8)) ** 2) for n in patch]
    weight = torch.einsum("z,y,x->zyx", *axes).clamp_min(1e-3)
    coarse_weight = functional.avg_pool3d(weight[None, None], stride, stride)[0, 0]
    probability, total = torch.zeros_like(padded), torch.zeros_like(padded)
    evidence = padded.new_zeros([n // s for n, s in zip(padded.shape, stride, strict=True)])
    coarse_total = torch.zeros_like(evidence)
    corners = list(
        product(*(sorted({*range(0, n - p, p // 2), n - p}) for n, p in zip(padded.shape, patch, strict=True)))
    )
    with torch.inference_mode():
        for first in range(0, len(corners), 4):
            batch = corners[first : first + 4]
            output = pathway(torch.stack([padded[_box(corner, patch)] for corner in batch])[:, None])
            for corner, clot, witness in zip(batch, torch.sigmoid(output.logits), output.evidence, strict=True):
                box, coarse = _box(corner, patch), _box(_divided(corner, stride), _divided(patch, stride))
                probability[box] += weight * clot[0]
                total[box] += weight
                evidence[coarse] += coarse_weight * witness[0]
                coarse_total[coarse] += coarse_weight
    return probability / total, evidence / coarse_total


def _box(corner: tuple[int, ...], size: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(c, c + n) for c, n in zip(corner, size, strict=True))


def _divided(values: tuple[int, ...], stride: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(v // s for v, s in zip(values, stride, strict=True))


def surface_agreement(first: np.ndarray, second: np.ndarray, spacing: tuple[float, ...]) -> list[float]:
    """ASSD and HD95 in mm, and the share within 1 mm, of two masks (z, y, x); `spacing` is (x, y, z)."""
    box = ndimage.find_objects((first | second).astype(np.uint8))[0]
    one, other = (mask[box] & ~np.asarray(ndimage.binary_erosion(mask[box]), bool) for mask in (first, second))
    distances = [
        np.asarray(ndimage.distance_transform_edt(~target, sampling=spacing[::-1]))[source]
        for source, target in ((one, other), (other, one))
    ]
    both = np.concatenate(distances)
    return [float(both.mean()), float(max(np.percentile(d, 95) for d in distances)), float((both <= 1).mean())]


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Exact two-sided p of two raters' correctness."""
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    return float(stats.binomtest(only_first, only_first + only_second, 0.5).pvalue)


def table_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """CSV of rows; None and NaN are empty cells."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _cell(row.get(key)) for key in columns})
    return text.getvalue()


def _cell(value: Any) -> Any:
    return "" if value is None or (isinstance(value, float) and not math.isfinite(value)) else value
