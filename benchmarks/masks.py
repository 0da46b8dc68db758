"""How often the checks of a mask see that it is wrong, and how often they err: `python -m benchmarks.masks COHORT ...`.

COHORT is a folder of `cpmn phantom`. Each patient's masks are asked as they are, mirrored, and moved.
"""

import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk

from cpmn.checks.finding import Finding
from cpmn.checks.mask import FEWEST_VOXELS, check_mask, check_place
from cpmn.config.convert import ConvertConfig
from cpmn.dicom.scan import read_scan
from cpmn.volume.images import read_image

MASKS = {"ctpa": "ctpa_mask.nii.gz", "nct": "nct_truth.nii.gz"}
MOVED_MM = (5.0, 10.0, 30.0)
WORST = ("refused", "warned", "passed")


def measure(cohorts: list[Path]) -> pd.DataFrame:
    """One row per phase and way: masks asked, and the shares of each outcome, the worst of a mask's checks."""
    rows = [row for cohort in cohorts for path in sorted(cohort.rglob(MASKS["ctpa"])) for row in _patient(path.parent)]
    table = pd.DataFrame(rows, columns=pd.Index(["phase", "way", "outcome"]))
    shares = table.groupby(["phase", "way"]).outcome.value_counts(normalize=True).unstack(fill_value=0.0)
    return shares.reindex(columns=WORST, fill_value=0.0).assign(n=table.groupby(["phase", "way"]).size()).round(3)


def _patient(folder: Path) -> Iterator[tuple[str, str, str]]:
    for phase, name in MASKS.items():
        scan, _ = read_scan(folder / phase, patient="p", phase=phase, series_uid="", config=ConvertConfig())
        mask = read_image(folder / name)
        findings = check_mask(mask, scan, phase)
        print(folder.name, phase, *(f"{one.seen};" for one in findings), flush=True)
        yield phase, "as it is", _worst(findings)
        hu, labels = sitk.GetArrayViewFromImage(scan), sitk.GetArrayViewFromImage(mask)
        for way, places in _wrong(np.argwhere(labels > 0), hu.shape, scan.GetSpacing()[::-1]):
            inside = places[((places >= 0) & (places < hu.shape)).all(axis=1)]
            if len(inside) >= FEWEST_VOXELS:
                yield phase, way, _worst(check_place(hu, inside, {}))


def _worst(findings: list[Finding]) -> str:
    return min((finding.outcome for finding in findings), key=WORST.index)


def _wrong(places: np.ndarray, shape: tuple[int, ...], spacing: tuple[float, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """Voxels (n, 3: z, y, x) mirrored in each way, and moved to either side."""
    for mirror in product((False, True), repeat=3):
        if any(mirror):
            yield "mirrored", np.where(mirror, np.array(shape) - 1 - places, places)
    for axis, sign, mm in product(range(3), (1, -1), MOVED_MM):
        yield f"moved by {mm:g} mm", places + sign * max(1, round(mm / spacing[axis])) * np.eye(3, dtype=int)[axis]
    for step in (1, -1):
        yield "moved by one slice", np.add(places, [step, 0, 0])


if __name__ == "__main__":
    print(measure([Path(name) for name in sys.argv[1:]]).to_string())
