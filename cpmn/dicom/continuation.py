"""One scan that an archive or an export cut into several series: joined where all else agrees."""

from collections.abc import Collection, Sequence
from itertools import permutations

import numpy as np

from cpmn.config.convert import ConvertConfig
from cpmn.dicom.acquisition import differing
from cpmn.dicom.problem import SeriesProblem
from cpmn.dicom.series import Series, examine

IN_PLANE_TOLERANCE_MM = 0.1  # ours: corners of slices of one scan stand above each other
WHOLE_MM = 250.0  # ours: what covers more holds the lungs of a grown-up by itself
ALIKE = (
    "Rows",
    "Columns",
    "PixelSpacing",
    "ImageOrientationPatient",
    "StudyInstanceUID",
    "SliceThickness",
    "ImageType",
)
"""Tags in which the halves of one scan agree, beside the facts that no acquisition changes."""


def join_continued(series: Sequence[Series], config: ConvertConfig, *, refuse: bool = True) -> list[Series]:
    """The series, those joined that continue each other by one even gap and agree in everything else.

    Only series that cover less than a chest (`WHOLE_MM`) are looked at. A pair of them that continues each other but
    differs is given a problem each, with `refuse`: half a chest must not be taken for a whole one.
    """
    found, seen = list(series), set[tuple[str, str]]()
    while (pair := _next_pair(found, seen, config)) is not None:
        lower, upper = pair
        seen.add((lower.key, upper.key))
        if differs := _differences(lower, upper):
            if not refuse:
                continue
            problem = SeriesProblem(
                f"{lower.describe()} ends where {upper.describe()} begins, and they differ in {', '.join(differs)}",
                "Export the scan as one series, or name the one that is meant.",
            )
            lower.problems.append(problem)
            upper.problems.append(problem)
        else:
            joined = examine(_joined(lower, upper), config)
            found = [item for item in found if item is not lower and item is not upper] + [joined]
    return found


def _next_pair(
    series: Sequence[Series], seen: Collection[tuple[str, str]], config: ConvertConfig
) -> tuple[Series, Series] | None:
    """Two series of which the second begins one gap above the end of the first, and nothing was said of yet."""
    short = [one for one in series if _may_continue(one, config)]
    pairs = (pair for pair in permutations(short, 2) if (pair[0].key, pair[1].key) not in seen)
    return next((pair for pair in pairs if _continues(*pair, config)), None)


def _may_continue(one: Series, config: ConvertConfig) -> bool:
    too_few = len(one.slices) < config.minimum_slices
    usable = len(one.problems) == int(too_few)  # nothing else is wrong with it
    return usable and one.geometry is not None and one.geometry.coverage_mm < WHOLE_MM


def _continues(lower: Series, upper: Series, config: ConvertConfig) -> bool:
    below, above = lower.geometry, upper.geometry
    assert below is not None
    assert above is not None
    gap = above.heights[0] - below.heights[-1]
    even = all(abs(gap - step.spacing[2]) <= config.spacing_tolerance_mm for step in (below, above))
    shift = np.array(above.origin) - np.array(below.origin)
    aside = shift - (shift @ below.direction[:, 2]) * below.direction[:, 2]
    return even and bool(np.abs(aside).max() <= IN_PLANE_TOLERANCE_MM)


def _differences(lower: Series, upper: Series) -> list[str]:
    """What the series differ in, by name; the patient's hash counts, the series' own number and description do not."""
    tags = [tag for tag in ALIKE if str(lower.first.tags.get(tag)) != str(upper.first.tags.get(tag))]
    patient = ["patient"] if lower.first.patient != upper.first.patient else []
    return [*patient, *differing(lower.first, upper.first), *tags]


def _joined(lower: Series, upper: Series) -> Series:
    return Series(
        key=f"{lower.key}+{upper.key}",
        uid=lower.uid,
        slices=[*lower.slices, *upper.slices],
        dropped=lower.dropped + upper.dropped,
        names=lower.names | upper.names | {f"{lower.key}+{upper.key}"},
    )
