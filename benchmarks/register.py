"""Registration: time and lung error against the phantom's exact motion, one thread each.

Peers get the same scans at the same working resolution and window; ANTsPy's default `SyN` and
`antsRegistrationSyNQuick[s]` are used as their documentation says.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from benchmarks.cases import Pair, make_pair
from cpmn.config.register import RegisterConfig
from cpmn.files import read_json
from cpmn.images import read_image
from cpmn.lungs import segment_lungs
from cpmn.register.ants_engine import load_ants
from cpmn.register.prepare import lung_box, working_image
from cpmn.register.stage import register_patient
from cpmn.transforms import load_transform, transform_points

PATIENTS = (1, 2, 3)
PEERS = ("SyN", "antsRegistrationSyNQuick[s]")


def measure() -> list[dict]:
    """One row per method: mean over patients with the range."""
    load_ants(threads=1)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for number in PATIENTS:
            folder = Path(name) / str(number)
            pair = make_pair(number, folder)
            rows.append(("cpmn", *_ours(pair, folder / "cpmn")))
            rows += [(peer, *_peer(pair, peer)) for peer in PEERS]
    ours = float(np.mean([seconds for method, seconds, _ in rows if method == "cpmn"]))
    return [_summary(method, [row for row in rows if row[0] == method], ours) for method in ("cpmn", *PEERS)]


def _ours(pair: Pair, folder: Path) -> tuple[float, float]:
    register_patient("benchmark", pair.nct, pair.ctpa, folder, RegisterConfig(), threads=1)
    transform = load_transform(folder / "affine.mat", folder / "warp.nii.gz")
    return read_json(folder / "quality.json")["seconds"], _error_mm(transform, pair)


def _peer(pair: Pair, kind: str) -> tuple[float, float]:
    import ants

    config, scans = RegisterConfig(), []
    began = time.perf_counter()
    for path in (pair.nct, pair.ctpa):
        image = read_image(path)
        grid = lung_box(segment_lungs(image), config.spacing_mm, config.margin_mm)
        with tempfile.NamedTemporaryFile(suffix=".nii") as file:
            sitk.WriteImage(working_image(image, grid, config.window_hu), file.name)
            scans.append(ants.image_read(file.name))
    found = ants.registration(*scans, type_of_transform=kind, random_seed=1)
    seconds = time.perf_counter() - began
    warp, affine = found["fwdtransforms"]
    return seconds, _error_mm(load_transform(affine, warp), pair)


def _error_mm(transform: sitk.Transform, pair: Pair) -> float:
    return float(np.linalg.norm(transform_points(transform, pair.points) - pair.truth, axis=1).mean())


def _summary(method: str, rows: list[tuple[str, float, float]], ours: float) -> dict:
    seconds, errors = np.array([row[1] for row in rows]), np.array([row[2] for row in rows])
    return {
        "method": method,
        "patients": len(rows),
        "seconds": round(seconds.mean(), 2),
        "seconds_range": f"{seconds.min():.2f} to {seconds.max():.2f}",
        "times_ours": round(seconds.mean() / ours, 2),
        "lung_error_mm": round(errors.mean(), 2),
        "lung_error_range": f"{errors.min():.2f} to {errors.max():.2f}",
    }
