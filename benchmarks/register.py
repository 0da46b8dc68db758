"""Registration: processor time against target registration error, beside the tools that others use.

Pairs: phantom patients at the demo's and at the training benchmark's voxels, their motion as drawn (up to 16-20 mm)
and scaled to about 30 mm, and one real chest turned by a known transform. Every method gets the same two images and one
thread. `seconds` is processor time from the images to the final transform (ours: with the lung segmentation), which a
busy machine changes less than wall-clock time. Peers run with their documented defaults on the native images;
"working" rows give them our cropped, clipped 3 mm images instead.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from benchmarks.pairs import FINE, LARGE_MM, Pair, errors_mm, folding_fraction, phantom_pair, real_pair
from benchmarks.peers import Register, ants_default, demons, elastix_default, greedy_default, load_installed
from cpmn.config.register import RegisterConfig
from cpmn.errors import CpmnError
from cpmn.lungs import segment_lungs
from cpmn.register.ants_engine import load_ants
from cpmn.register.engines import register_sides
from cpmn.register.prepare import MOVING_EXTRA_MM, prepare
from cpmn.transforms import load_transform

SETS: dict[str, Callable[[], list[Pair]]] = {
    "demo": lambda: [phantom_pair(n) for n in (1, 2, 3)],
    "demo, 30 mm": lambda: [phantom_pair(n, largest_mm=LARGE_MM) for n in (1, 2)],
    "fine": lambda: [phantom_pair(1, FINE)],
    "fine, 30 mm": lambda: [phantom_pair(2, FINE, LARGE_MM)],
    "real, turned": lambda: [pair for pair in [real_pair()] if pair],
}


def ours(**settings) -> Register:
    """Our stage's work on two images, from the lung segmentation to the final transform."""
    config = RegisterConfig.model_validate(settings)

    def register(nct: sitk.Image, ctpa: sitk.Image) -> sitk.Transform:
        fixed = prepare(nct, segment_lungs(nct), config)
        moving = prepare(ctpa, segment_lungs(ctpa), config, MOVING_EXTRA_MM)
        with tempfile.TemporaryDirectory() as name:
            register_sides(fixed, moving, Path(name), config, threads=1)
            return load_transform(f"{name}/affine.mat", f"{name}/warp.nii.gz")

    return register


def on_working_images(peer: Register) -> Register:
    """`peer` on our cropped, clipped images at the working resolution."""

    def register(nct: sitk.Image, ctpa: sitk.Image) -> sitk.Transform:
        config = RegisterConfig()
        sides = [prepare(image, segment_lungs(image), config) for image in (nct, ctpa)]
        return peer(sides[0].working, sides[1].working)

    return register


METHODS: dict[str, Register] = {
    "cpmn": ours(),
    "cpmn, quick": ours(spacing_mm=4.0, iterations=(30, 10), shrink_factors=(4, 2)),
    "cpmn, fallback": ours(**RegisterConfig().fallback),
    "cpmn, greedy": ours(engine="greedy"),
    "ANTsPy SyN": ants_default("SyN"),
    "ANTsPy SyN, working": on_working_images(ants_default("SyN")),
    "SyNQuick[s]": ants_default("antsRegistrationSyNQuick[s]"),
    "SyNQuick[s], working": on_working_images(ants_default("antsRegistrationSyNQuick[s]")),
    "greedy": greedy_default,
    "greedy, working": on_working_images(greedy_default),
    "elastix, working": on_working_images(elastix_default),
    "SimpleITK demons, working": on_working_images(demons),
}


def measure() -> list[dict]:
    """One row per set of pairs and method."""
    load_ants(threads=1)
    load_installed()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    return [row for name, pairs in SETS.items() for row in _rows(name, pairs())]


def _rows(name: str, pairs: list[Pair]) -> Iterator[dict]:
    if not pairs:
        yield {"pairs": name, "method": "all", "skipped": "the real data is absent"}
        return
    reference = None
    for method, register in METHODS.items():
        try:
            runs = [_run(register, pair) for pair in pairs]
        except (ImportError, CpmnError, RuntimeError) as error:
            yield {"pairs": name, "method": method, "skipped": str(error).splitlines()[0]}
            continue
        reference = reference or float(np.mean([run["seconds"] for run in runs]))
        yield {"pairs": name, "method": method, **_summary(runs, reference)}


def _run(register: Register, pair: Pair) -> dict:
    began = time.process_time()
    transform = register(pair.nct, pair.ctpa)
    seconds = time.process_time() - began
    lung, vessels = (errors_mm(transform, pair, points) for points in (pair.points, pair.vessel_points))
    return {
        "seconds": seconds,
        "error": float(lung.mean()),
        "p95": float(np.percentile(lung, 95)),
        "vessels": float(vessels.mean()) if len(vessels) else np.nan,
        "folding": folding_fraction(transform, pair.nct),
    }


def _summary(runs: list[dict], reference: float) -> dict:
    value = {key: np.array([run[key] for run in runs]) for key in runs[0]}
    return {
        "n": len(runs),
        "seconds": round(value["seconds"].mean(), 2),
        "seconds_range": f"{value['seconds'].min():.2f} to {value['seconds'].max():.2f}",
        "times_ours": round(value["seconds"].mean() / reference, 2),
        "lung_error_mm": round(value["error"].mean(), 2),
        "lung_error_range": f"{value['error'].min():.2f} to {value['error'].max():.2f}",
        "lung_p95_mm": round(value["p95"].mean(), 2),
        "vessel_error_mm": round(value["vessels"].mean(), 2),
        "folding_fraction": round(value["folding"].max(), 6),
    }
