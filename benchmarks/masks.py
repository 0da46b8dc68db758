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

from cpmn.checks.mask import check_mask
from cpmn.config.convert import ConvertConfig
from cpmn.dicom.scan import read_scan
from cpmn.volume.images import image_like, read_image

MASKS = {"ctpa": "ctpa_mask.nii.gz", "nct": "nct_truth.nii.gz"}
MOVED_MM = (5.0, 10.0, 30.0)
PLACE = ("mask_mirrored", "mask_tissue")
WORST = ("refused", "warned", "passed")


def measure(cohorts: list[Path]) -> pd.DataFrame:
    """One row per phase and way: masks asked, and the shares of each outcome, the worst of a mask's checks."""
    rows = [row for cohort in cohorts for path in sorted(cohort.rglob(MASKS["ctpa"])) for row in _patient(path.parent)]
    table = pd.DataFrame(rows, columns=["phase", "way", "outcome"])
    shares = table.groupby(["phase", "way"]).outcome.value_counts(normalize=True).unstack(fill_value=0.0)
    return shares.reindex(columns=WORST, fill_value=0.0).assign(n=table.groupby(["phase", "way"]).size()).round(3)


def _patient(folder: Path) -> Iterator[tuple[str, str, str]]:
    for phase, name in MASKS.items():
        scan, _ = read_scan(folder / phase, patient="p", phase=phase, series_uid="", config=ConvertConfig())
        labels = sitk.GetArrayFromImage(read_image(folder / name)).astype(np.uint16)
        findings = check_mask(image_like(labels, scan), scan, phase)
        print(folder.name, phase, *(f"{one.seen};" for one in findings), flush=True)
        yield phase, "as it is", _worst([one.outcome for one in findings])
        for way, wrong in _wrong(labels, scan.GetSpacing()[::-1]):
            found = {one.check: one.outcome for one in check_mask(image_like(wrong, scan), scan, "nct")}  # place alone
            if set(PLACE) <= set(found):
                yield phase, way, _worst([found[check] for check in PLACE])


def _worst(outcomes: list[str]) -> str:
    return min(outcomes, key=WORST.index)


def _wrong(labels: np.ndarray, spacing: tuple[float, ...]) -> Iterator[tuple[str, np.ndarray]]:
    for axes in product((False, True), repeat=3):
        if any(axes):
            yield "mirrored", np.ascontiguousarray(np.flip(labels, np.flatnonzero(axes)))
    for axis, sign in product(range(3), (1, -1)):
        for mm in MOVED_MM:
            yield f"moved by {mm:g} mm", _moved(labels, axis, sign * max(1, round(mm / spacing[axis])))
    yield from (("moved by one slice", _moved(labels, 0, step)) for step in (1, -1))


def _moved(labels: np.ndarray, axis: int, steps: int) -> np.ndarray:
    """Labels moved by voxels; what leaves the image is lost."""
    moved = np.roll(labels, steps, axis)
    ends = [slice(None)] * 3
    ends[axis] = slice(None, steps) if steps > 0 else slice(steps, None)
    moved[tuple(ends)] = 0
    return moved


if __name__ == "__main__":
    print(measure([Path(name) for name in sys.argv[1:]]).to_string())
