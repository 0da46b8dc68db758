"""Registration: processor time against target registration error, beside the tools that others use.

Pairs: phantom patients at the demo's and at the training benchmark's voxels, their motion as drawn (up to 16-20 mm)
and scaled to about 30 mm, and one real chest turned by a known transform. Every method gets the same two images and one
thread. `seconds` is processor time from the images to the final transform (ours: with the lung segmentation), which a
busy machine changes less than wall-clock time. Peers run with their documented defaults on the native images;
"working" rows give them our cropped, clipped 3 mm images instead.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from benchmarks.pairs import FINE, LARGE_MM, Pair, errors_mm, folding_fraction, phantom_pair, real_pair
from benchmarks.peers import Register, ants_default, demons, elastix_default, greedy_default, load_installed
from cpmn.anatomy.lungs import segment_lungs
from cpmn.config.register import RegisterConfig
from cpmn.errors import CpmnError
from cpmn.register.ants_engine import load_ants
from cpmn.register.engines import register_sides
from cpmn.register.prepare import MOVING_EXTRA_MM, prepare
from cpmn.volume.transforms import load_transform


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
    "cpmn, 2 mm": ours(spacing_mm=2.0, iterations=(60, 40, 40), shrink_factors=(8, 4, 2)),
    "cpmn, greedy": ours(engine="greedy"),
    "ANTsPy SyN": ants_default("SyN"),
    "ANTsPy SyN, working": on_working_images(ants_default("SyN")),
    "SyNQuick[s]": ants_default("antsRegistrationSyNQuick[s]"),
    "SyNQuick[s], working": on_working_images(ants_default("antsRegistrationSyNQuick[s]")),
    "greedy": greedy_default,
    "elastix, working": on_working_images(elastix_default),
    "SimpleITK demons, working": on_working_images(demons),
}


AS_USED = ("cpmn", "cpmn, greedy", "ANTsPy SyN", "SyNQuick[s]", "greedy")
OTHERS = ("cpmn", *(method for method in METHODS if method not in AS_USED))
SETS: dict[str, tuple[Callable[[], list[Pair]], Sequence[str]]] = {
    "demo": (lambda: [phantom_pair(n) for n in (1, 2, 3)], AS_USED),
    "fine": (lambda: [phantom_pair(1, FINE)], AS_USED),
    "demo, 30 mm": (lambda: [phantom_pair(2, largest_mm=LARGE_MM)], AS_USED),
    "real, turned": (lambda: [pair for pair in [real_pair()] if pair], AS_USED),
    "demo, patient 1": (lambda: [phantom_pair(1)], OTHERS),
    "fine, 30 mm": (lambda: [phantom_pair(2, FINE, LARGE_MM)], AS_USED),
}
"""Pairs, and the methods that are run on them: all in one go would take an hour."""


def measure() -> Iterator[dict]:
    """One row per set of pairs and method."""
    load_ants(threads=1)
    load_installed()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    for name, (make, methods) in SETS.items():
        if pairs := make():
            yield from _rows(name, pairs, methods)
        else:
            yield {"pairs": name, "method": "all", "skipped": "the real data is absent"}


def _rows(name: str, pairs: list[Pair], methods: Sequence[str]) -> Iterator[dict]:
    """Methods take turns on each pair, ours at both ends, so that what else the machine does weighs on all alike."""
    runs: dict[str, list[dict]] = {method: [] for method in methods}
    skipped: dict[str, str] = {}
    for pair in pairs:
        for method in (*methods, methods[0]):
            if method in skipped:
                continue
            try:
                runs[method].append(_run(METHODS[method], pair))
            except (ImportError, CpmnError, RuntimeError) as error:
                skipped[method] = str(error).splitlines()[0]
    reference = float(np.mean([run["seconds"] for run in runs[methods[0]]]))
    for method, done in runs.items():
        row = {"pairs": name, "method": method, "n": len(pairs)}
        yield row | ({"skipped": skipped[method]} if method in skipped else _summary(done, reference))


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
        "seconds": round(value["seconds"].mean(), 2),
        "seconds_range": f"{value['seconds'].min():.2f} to {value['seconds'].max():.2f}",
        "times_ours": round(value["seconds"].mean() / reference, 2),
        "lung_error_mm": round(value["error"].mean(), 2),
        "lung_error_range": f"{value['error'].min():.2f} to {value['error'].max():.2f}",
        "lung_p95_mm": round(value["p95"].mean(), 2),
        "vessel_error_mm": round(value["vessels"].mean(), 2),
        "folding_fraction": round(value["folding"].max(), 6),
    }
