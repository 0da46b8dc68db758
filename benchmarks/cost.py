"""What a patient costs at the size of a clinical scan: processor seconds, memory and disk of each stage.

Phantom pairs of 509 x 364 x 256 voxels a phase (0.66 x 0.66 x 1 mm), settings of `config/paired.yaml`, one thread. Each
stage runs in a process of its own, as a job does; `start_cpu_seconds` is what that process needs before it works.
"""

import multiprocessing
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cpmn.cohort.sheet import Patient, load_cohort
from cpmn.config.files import read_config
from cpmn.phantom.stage import write_cohort, write_patient
from study.preprocess import preprocess_patient, products_of, stages_of

SETTINGS = Path(__file__).parents[1] / "config/paired.yaml"
SPACING = (0.66, 0.66, 1.0)  # mm, both phases
PATIENTS = 2
STAGES = ("convert", "register", "propagate", "crop")


def measure() -> Iterator[dict[str, Any]]:
    """One row per stage: means over the patients; and the scans as they came, and all."""
    config = read_config(SETTINGS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        phantom = config.phantom.model_copy(
            update={"patients": PATIENTS, "nct_spacing": SPACING, "ctpa_spacing": SPACING}
        )
        write_cohort(phantom, folder / "data")
        patients = load_cohort(folder / "data/cohort.csv")
        for patient in patients:
            write_patient(phantom, patient.patient_id, folder / "data" / patient.patient_id)
        scans = [path for patient in patients for path in (patient.nct, patient.ctpa) if path]
        yield {"what": "scans, as DICOM"} | _disk([file for path in scans for file in path.iterdir()])
        rows = [_stage(stage, patients, folder / "results") for stage in STAGES]
        yield from rows
        total = {key: round(sum(row[key] for row in rows), 2) for key in rows[0] if key not in ("what", "peak_gb")}
        yield {"what": "all stages"} | total | {"peak_gb": max(row["peak_gb"] for row in rows)}


def _stage(stage: str, patients: list[Patient], results: Path) -> dict[str, Any]:
    spawn, runs = multiprocessing.get_context("spawn"), []
    for patient in patients:
        with spawn.Pool(1) as pool:
            runs.append(pool.apply(_run, (stage, patient, results)))
    means = np.mean(runs, axis=0)
    files = [path for patient in patients for path in products_of(patient, results, stages_of(patient))[stage]]
    names = ("start_cpu_seconds", "cpu_seconds", "seconds", "peak_gb")
    return (
        {"what": stage}
        | {name: round(float(value), 2) for name, value in zip(names, means, strict=True)}
        | _disk(files)
    )


def _run(stage: str, patient: Patient, results: Path) -> tuple[float, float, float, float]:
    """Processor seconds of the start and of the work, seconds of the work, largest memory in GB."""
    start, began = time.process_time(), time.monotonic()
    preprocess_patient(patient, results, read_config(SETTINGS), [stage])
    return start, time.process_time() - start, time.monotonic() - began, peak_gb()


def peak_gb() -> float:
    """Largest resident memory of this process; `getrusage` counts that of the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 2**20  # pyright: ignore[reportOptionalSubscript]


def _disk(files: list[Path]) -> dict[str, float]:
    """Size of the files, per patient."""
    return {"disk_mb": round(sum(path.stat().st_size for path in files) / PATIENTS / 1e6, 1)}
