"""`cpmn` against its controls and without its parts, on the patients of `mixed` that no choice was made on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cpmn.scoring.metrics import Estimate
from study.tables import RESULTS, Folders, patients_tested
from study.uncertainty import (
    Readings,
    auc,
    dice,
    difference,
    differences_by_seed,
    of_common_seeds,
    of_seeds,
    readings_of,
    wider,
)

PRIMARY = "mixed"
DECIDING = ("nct_nct", "nct_only_long")  # controls that cpmn must be ahead of
CONTROLS = (*DECIDING, "nct_only")  # the family that Holm's correction counts
ABLATIONS = ("shuffled_ctpa", "ctpa_pretrained", "no_ifa", "no_mutual", "no_ifd")
CHOSEN_WITH = 0  # seed of every trial, so that the recipe suits it if any


@dataclass(frozen=True)
class Comparison:
    """`cpmn` minus another variant over the seeds that both have.

    `student` is the interval of the AUC by Student's t, absent with one seed; `fresh_auc` leaves out the seed that all
    choices were made with, absent where there is no other.
    """

    versus: str
    seeds: tuple[int, ...]
    auc: Estimate
    student: Estimate
    by_seed: tuple[float, ...]
    fresh_auc: Estimate | None
    dice: Estimate
    p_of_dice: float


def compared(others: Sequence[str] = (*CONTROLS, *ABLATIONS), folder: Path = RESULTS) -> list[Comparison]:
    """`cpmn` minus each of the `others`."""
    readings = variants(PRIMARY, folder)
    return [_compare(other, *of_common_seeds(readings["cpmn"], readings[other])) for other in others]


def variants(difficulty: str, folder: Folders = RESULTS) -> dict[str, Readings]:
    """Readings of the test cohort by variant."""
    groups = patients_tested(difficulty, folder).groupby("variant")
    return {str(name): readings_of(rows) for name, rows in groups}


def _compare(name: str, first: Readings, second: Readings) -> Comparison:
    fresh = [seed for seed in first.seeds if seed != CHOSEN_WITH]
    pair = of_seeds(first, fresh), of_seeds(second, fresh)
    overlap, p_of_dice = difference(dice, first, second)
    return Comparison(
        versus=name,
        seeds=first.seeds,
        auc=difference(auc, first, second)[0],
        student=wider(auc, first, second),
        by_seed=tuple(differences_by_seed(auc, first, second).tolist()),
        fresh_auc=difference(auc, *pair)[0] if fresh else None,
        dice=overlap,
        p_of_dice=p_of_dice,
    )
