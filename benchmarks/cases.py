"""What the benchmarks measure on: the seed of their phantom patients, and the real scans."""

import os
from collections.abc import Iterator
from pathlib import Path

import SimpleITK as sitk

from cpmn.cohort.phantom import patient_id, phantom_label
from cpmn.config.phantom import PhantomConfig
from cpmn.phantom.anatomy import build_anatomy
from cpmn.phantom.scan import grid_image, scan_phase

SEED = 99  # none of the seeds that settings were chosen on
REAL_DATA = Path(os.environ.get("CPMN_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
SEEDS = {"realistic": 991, "mixed": 992}  # of phantom patients that no limit of a check was chosen on
Scans = dict[str, tuple[sitk.Image, sitk.Image]]


def phantom_patients(count: int, *, with_pe: bool = False) -> Iterator[Scans]:
    """`count` patients of each of `SEEDS`: HU and clot ids of "nct" and "ctpa", every nuisance drawn.

    with_pe : whether they are patients with emboli alone, one of each two.
    """
    for difficulty, seed in SEEDS.items():
        config = PhantomConfig.model_validate({"seed": seed, "difficulty": difficulty})
        for index in range(2 * count if with_pe else count):
            if with_pe and not phantom_label(seed, index):
                continue
            anatomy = build_anatomy(config, patient_id(index))
            scans = {phase: scan_phase(config, anatomy, phase) for phase in ("nct", "ctpa")}
            yield {
                phase: (grid_image(scan.hu, scan.grid), grid_image(scan.clots, scan.grid))
                for phase, scan in scans.items()
            }
