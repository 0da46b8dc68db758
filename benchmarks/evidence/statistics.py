"""Figures over patients and seeds: bootstrap of both, and Holm's correction.

A variant's figure is the mean over its seeds of the figure over patients. One bootstrap draw takes patients within each
class (the design fixes the numbers of both) and seeds, both with replacement; all variants see the same patients, and,
where they were trained with the same seeds, the same seeds, because a seed fixes initialisation and sampling of the
NCT pathway in all of them. With one seed the interval holds the uncertainty over patients alone; with a few it is too
narrow where seeds differ (three drawn from three have two thirds of their variance, and normal quantiles where t has
two degrees of freedom), which `wider` mends. Where no draw differs from another (perfect separation) there is no
interval rather than one of width zero.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import stats

from cpmn.files import read_table
from cpmn.scoring.metrics import Estimate, estimate

SAMPLES = 4000
LEVEL = 0.95
SMALLEST_SPREAD = 1e-12  # draws closer than rounding are the same


@dataclass(frozen=True)
class Readings:
    """One variant's readings by seed, patients in the same order in all variants: scores of PE patients (seeds, n_pe)
    and of normals (seeds, n_normal), and the `dice` of the PE patients (seeds, n_pe)."""

    seeds: tuple[int, ...]
    pe: np.ndarray
    normal: np.ndarray
    dice: np.ndarray
    patients: tuple[str, ...] = ()


@dataclass(frozen=True)
class Draws:
    """Bootstrap counts: of each PE patient (samples, n_pe) and normal (samples, n_normal), and a seed for the seeds."""

    pe: np.ndarray
    normal: np.ndarray
    generator_seed: int
    every_seed: bool = False

    def of_seeds(self, seeds: Sequence[int]) -> np.ndarray:
        """Counts (samples, seeds) of the seeds; the same for every variant with the same seeds. 1 with `every_seed`."""
        count = len(seeds)
        if self.every_seed:
            return np.ones((len(self.pe), count), int)
        random = np.random.default_rng([self.generator_seed, *seeds])
        return random.multinomial(count, np.full(count, 1 / count), len(self.pe))


def draw(n_pe: int, n_normal: int, samples: int = SAMPLES, seed: int = 0) -> Draws:
    """Draws of patients within each class."""
    random = np.random.default_rng(seed)
    pe, normal = (random.multinomial(n, np.full(n, 1 / n), samples) for n in (n_pe, n_normal))
    return Draws(pe, normal, seed)


def auc(readings: Readings, draws: Draws | None = None) -> np.ndarray:
    """Mean over seeds of the AUC (ties half): of the patients as they are, shape (), or of each draw (samples,)."""
    wins = (readings.pe[:, :, None] > readings.normal[:, None]) + 0.5 * (
        readings.pe[:, :, None] == readings.normal[:, None]
    )
    if draws is None:
        return wins.mean()
    pairs = readings.pe.shape[1] * readings.normal.shape[1]
    by_seed = np.stack([((draws.pe @ one) * draws.normal).sum(axis=1) / pairs for one in wins], axis=1)
    return _over_seeds(by_seed, readings.seeds, draws)


def dice(readings: Readings, draws: Draws | None = None) -> np.ndarray:
    """Mean over seeds and PE patients of the Dice; as `auc`."""
    if draws is None:
        return readings.dice.mean()
    return _over_seeds(draws.pe @ readings.dice.T / readings.dice.shape[1], readings.seeds, draws)


def found_where_cleared(readings: Readings, share: float) -> list[int]:
    """PE patients that score above `share` of the normals (rounded up to whole patients), by seed: the same specificity
    on these very patients for every variant, which no fitted threshold gives."""
    kept = math.ceil(share * readings.normal.shape[1])
    thresholds = np.sort(readings.normal, axis=1)[:, kept - 1]
    return [int(found) for found in (readings.pe > thresholds[:, None]).sum(axis=1)]


FIGURES = {"auc": auc, "dice": dice}


def figure(name: str, readings: Readings, draws: Draws) -> Estimate:
    """A variant's figure with its percentile interval."""
    return _interval(float(FIGURES[name](readings)), FIGURES[name](readings, draws), readings.pe.shape[1])


def difference(name: str, first: Readings, second: Readings, draws: Draws) -> tuple[Estimate, float]:
    """First minus second with its percentile interval, and the two-sided p of the bootstrap.

    p is twice the smaller share of draws on one side of zero, a draw at zero counting for both, with one draw added
    (Davison & Hinkley 1997, section 4.4), so that it is never 0.
    """
    compute = FIGURES[name]
    drawn = compute(first, draws) - compute(second, draws)
    tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    value = float(compute(first) - compute(second))
    return _interval(value, drawn, first.pe.shape[1]), min(1.0, 2 * (tail + 1) / (len(drawn) + 1))


def wider(name: str, first: Readings, second: Readings, draws: Draws) -> Estimate:
    """First minus second with an interval that trusts few seeds less: Student's t instead of the bootstrap over seeds.

    The variance is that over patients (bootstrap, seeds as they are) plus the sample variance of the seeds' differences
    over their number; degrees of freedom by Welch and Satterthwaite (Satterthwaite 1946), those of the patients being
    many. No interval with one seed. That the seeds' differences vary by their patients too makes it wider still.
    """
    compute = FIGURES[name]
    fixed = replace(draws, every_seed=True)
    by_seed = np.array([compute(of_seed(first, seed)) - compute(of_seed(second, seed)) for seed in first.seeds])
    value, count, n = float(by_seed.mean()), len(by_seed), first.pe.shape[1]
    if count < 2:
        return estimate(value, n=n)
    over_patients = float(np.var(compute(first, fixed) - compute(second, fixed), ddof=1))
    over_seeds = float(np.var(by_seed, ddof=1)) / count
    total = over_patients + over_seeds
    if total < SMALLEST_SPREAD:
        return estimate(value, n=n)
    freedom = total**2 / (over_seeds**2 / (count - 1) + over_patients**2 / (n - 1))
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * total**0.5
    return estimate(value, value - half, value + half, n)


def of_common_seeds(first: Readings, second: Readings) -> tuple[Readings, Readings]:
    """Both variants' readings by the seeds that both have, so that neither mean holds a training the other lacks."""
    seeds = [seed for seed in first.seeds if seed in second.seeds]
    return of_seeds(first, seeds), of_seeds(second, seeds)


def of_seed(readings: Readings, seed: int) -> Readings:
    """One seed's readings."""
    return of_seeds(readings, [seed])


def of_seeds(readings: Readings, seeds: Sequence[int]) -> Readings:
    """The readings of some seeds, in their order."""
    rows = [readings.seeds.index(seed) for seed in seeds]
    values = {name: getattr(readings, name)[rows] for name in ("pe", "normal", "dice")}
    return replace(readings, seeds=tuple(seeds), **values)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p by name (Holm 1979): the step-down procedure that holds the family's error."""
    ordered = sorted(p_values.items(), key=lambda item: item[1])
    adjusted, highest = {}, 0.0
    for rank, (name, p) in enumerate(ordered):
        highest = max(highest, min(1.0, (len(ordered) - rank) * p))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p_values}


def cohort_rows(path: Path, role: str, **wanted: str) -> list[dict[str, str]]:
    """Rows of one cohort in a run's `patients.csv` or `clots.csv`, with the `wanted` values; none without the file."""
    wanted |= {"split": role}
    return [row for row in read_table(path) if wanted.items() <= row.items()] if path.is_file() else []


def readings_of(tables: Mapping[int, Sequence[Mapping[str, str]]]) -> Readings:
    """Readings from the test rows of `patients.csv` by seed.

    Raises ValueError if the seeds were not scored on the same patients, by name, class, volume of clot and noise.
    """
    tables = dict(sorted(tables.items()))
    names = [[_identity(row) for row in rows] for rows in tables.values()]
    if any(other != names[0] for other in names[1:]):
        raise ValueError("runs of one variant were scored on different patients: let the queue finish first")
    classes = {
        label: np.array([[float(row["score"]) for row in rows if row["label"] == label] for rows in tables.values()])
        for label in ("1", "0")
    }
    overlap = np.array([[float(row["dice"] or 0) for row in rows if row["label"] == "1"] for rows in tables.values()])
    return Readings(tuple(tables), classes["1"], classes["0"], overlap, tuple(names[0]))


def _identity(row: Mapping[str, str]) -> str:
    """A patient by name and content: a phantom whose code has changed makes other patients of the same names."""
    made = (f"{float(row[key] or 'nan'):.3f}" for key in ("reference_ml", "noise_hu"))
    return " ".join([row["patient_id"], row["label"], *made])


def _over_seeds(by_seed: np.ndarray, seeds: Sequence[int], draws: Draws) -> np.ndarray:
    return (by_seed * draws.of_seeds(seeds)).sum(axis=1) / len(seeds)


def _interval(value: float, drawn: np.ndarray, n: int) -> Estimate:
    if np.ptp(drawn) < SMALLEST_SPREAD:
        return estimate(value, n=n)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return estimate(value, float(low), float(high), n)
