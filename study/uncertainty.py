"""Figures over patients and trainings, and differences between variants: bootstrap of both, and Student's t.

A variant's figure is the mean over its seeds of the figure over patients. One draw takes patients within each class and
seeds, both with replacement. All variants see the same patients. Those that are `paired` see the same seeds: `cpmn` and
its controls because a seed fixes initialisation and sampling of the NCT pathway in all of them, but for hard negatives.
Seeds of trainings that have nothing in common but their numbers are drawn apart. With one seed the interval holds the
uncertainty over patients alone; with three it is too narrow where seeds differ, which `wider` mends.
Where no draw differs from another (perfect separation) there is no interval rather than one of width zero.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from cpmn.errors import CpmnError
from cpmn.scoring.metrics import Estimate, estimate

SAMPLES = 4000
LEVEL = 0.95
SMALLEST_SPREAD = 1e-12  # draws closer than rounding are the same


@dataclass(frozen=True)
class Readings:
    """One variant's readings by seed, patients in the same order in all variants: scores of PE patients (seeds, n_pe)
    and of normals (seeds, n_normal), the `dice` of the PE patients (seeds, n_pe), and the names of both classes."""

    seeds: tuple[int, ...]
    pe: np.ndarray
    normal: np.ndarray
    dice: np.ndarray
    patients: tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Draws:
    """Bootstrap counts: of each PE patient (samples, n_pe) and normal (samples, n_normal), and a seed for the seeds."""

    pe: np.ndarray
    normal: np.ndarray
    generator_seed: int
    every_seed: bool = False

    def of_seeds(self, seeds: Sequence[int]) -> np.ndarray:
        """Counts (samples, seeds) of the seeds, 1 with `every_seed`; the same for the same seeds, unless `apart`."""
        count = len(seeds)
        if self.every_seed:
            return np.ones((len(self.pe), count), int)
        random = np.random.default_rng([self.generator_seed, *seeds])
        return random.multinomial(count, np.full(count, 1 / count), len(self.pe))

    def apart(self) -> "Draws":
        """The same draws of patients, with others of the seeds: for trainings whose seeds are equal by chance."""
        return replace(self, generator_seed=self.generator_seed + 1)


Figure = Callable[..., np.ndarray]


def readings_of(patients: pd.DataFrame) -> Readings:
    """Readings from one variant's rows of one cohort.

    Raises ValueError if the seeds did not read the same patients, by name, class, volume of clot and noise: a phantom
    whose code has changed makes other patients of the same names.
    """
    identity = patients.drop_duplicates(["patient_id", "label", "reference_ml", "noise_hu"])
    whole = patients.pivot(index="seed", columns="patient_id", values="score").notna().to_numpy().all()
    if identity.duplicated("patient_id").any() or not whole:
        raise ValueError("trainings of one variant have read different patients")

    def by_seed(label: int, column: str) -> pd.DataFrame:
        own = patients.loc[patients["label"] == label]
        return own.pivot(index="seed", columns="patient_id", values=column).fillna(0.0)

    pe, normal, overlap = by_seed(1, "score"), by_seed(0, "score"), by_seed(1, "dice")
    names = tuple(pe.columns), tuple(normal.columns)
    return Readings(tuple(sorted(set(patients["seed"]))), pe.to_numpy(), normal.to_numpy(), overlap.to_numpy(), names)


def draw(n_pe: int, n_normal: int, samples: int = SAMPLES, seed: int = 0) -> Draws:
    """Draws of patients within each class."""
    random = np.random.default_rng(seed)
    pe, normal = (random.multinomial(n, np.full(n, 1 / n), samples) for n in (n_pe, n_normal))
    return Draws(pe, normal, seed)


def draws_of(readings: Readings) -> Draws:
    """Draws of the patients of these readings."""
    return draw(readings.pe.shape[1], readings.normal.shape[1])


def auc(readings: Readings, draws: Draws | None = None) -> np.ndarray:
    """Mean over seeds of the AUC (ties half): of the patients as they are, shape (), or of each draw (samples,)."""
    pe, normal = readings.pe[:, :, None], readings.normal[:, None]
    wins = (pe > normal) + 0.5 * (pe == normal)
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


def found_where_cleared(readings: Readings, share: float) -> np.ndarray:
    """PE patients (seeds,) that score above `share` of the normals, rounded up to whole patients: the same specificity
    on these very patients for every variant, which no threshold fitted elsewhere gives."""
    kept = math.ceil(share * readings.normal.shape[1])
    thresholds = np.sort(readings.normal, axis=1)[:, kept - 1]
    return (readings.pe > thresholds[:, None]).sum(axis=1)


def value_of(figure: Figure, readings: Readings) -> Estimate:
    """A variant's figure with its percentile interval."""
    return _interval(float(figure(readings)), figure(readings, draws_of(readings)), readings.pe.shape[1])


def difference(figure: Figure, first: Readings, second: Readings, *, paired: bool = True) -> tuple[Estimate, float]:
    """First minus second with its percentile interval, and the two-sided p of the bootstrap.

    `paired` says that trainings of the same seed belong together, so that both lose or repeat them in the same draws.

    p is twice the smaller share of draws on one side of zero, a draw at zero counting for both, with one draw added
    (Davison & Hinkley 1997, section 4.4), so that it is never 0.

    Raises CpmnError if the two have not read the same patients.
    """
    _require_same_patients(first, second)
    draws = draws_of(first)
    drawn = figure(first, draws) - figure(second, draws if paired else draws.apart())
    tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    value = float(figure(first) - figure(second))
    return _interval(value, drawn, first.pe.shape[1]), min(1.0, 2 * (tail + 1) / (len(drawn) + 1))


def wider(figure: Figure, first: Readings, second: Readings) -> Estimate:
    """First minus second with an interval that trusts few seeds less: Student's t instead of the bootstrap over seeds.

    The variance is that over patients (bootstrap, seeds as they are) plus the sample variance of the seeds' differences
    over their number; degrees of freedom by Welch and Satterthwaite (Satterthwaite 1946), those of the patients being
    many. No interval with one seed. That the seeds' differences vary by their patients too makes it wider still.

    The seeds of both are paired. Raises CpmnError as `difference`.
    """
    _require_same_patients(first, second)
    by_seed = differences_by_seed(figure, first, second)
    value, count, n = float(by_seed.mean()), len(by_seed), first.pe.shape[1]
    if count < 2:
        return estimate(value, n=n)
    fixed = replace(draws_of(first), every_seed=True)
    over_patients = float(np.var(figure(first, fixed) - figure(second, fixed), ddof=1))
    over_seeds = float(np.var(by_seed, ddof=1)) / count
    total = over_patients + over_seeds
    if total < SMALLEST_SPREAD:
        return estimate(value, n=n)
    freedom = total**2 / (over_seeds**2 / (count - 1) + over_patients**2 / (n - 1))
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * total**0.5
    return estimate(value, value - half, value + half, n)


def differences_by_seed(figure: Figure, first: Readings, second: Readings) -> np.ndarray:
    """First minus second (seeds,), one training of each."""
    pairs = [(of_seeds(first, [seed]), of_seeds(second, [seed])) for seed in first.seeds]
    return np.array([float(figure(one) - figure(other)) for one, other in pairs])


def of_common_seeds(first: Readings, second: Readings) -> tuple[Readings, Readings]:
    """Both variants' readings by the seeds that both have, so that neither mean holds a training the other lacks."""
    seeds = [seed for seed in first.seeds if seed in second.seeds]
    return of_seeds(first, seeds), of_seeds(second, seeds)


def of_seeds(readings: Readings, seeds: Sequence[int]) -> Readings:
    """The readings of some seeds, in their order."""
    rows = [readings.seeds.index(seed) for seed in seeds]
    pe, normal, overlap = (values[rows] for values in (readings.pe, readings.normal, readings.dice))
    return replace(readings, seeds=tuple(seeds), pe=pe, normal=normal, dice=overlap)


def with_interval(found: Estimate, form: str = ".3f") -> str:
    """A value with its interval, unless there is none."""
    interval = "" if found["low"] is None else f" ({found['low']:{form}} to {found['high']:{form}})"
    return f"{found['value']:{form}}{interval}"


def _require_same_patients(first: Readings, second: Readings) -> None:
    """A draw takes the same places of both, so that each place must hold the same patient."""
    classes = zip(first.patients, second.patients, strict=True)
    if alone := set().union(*(set(one) ^ set(other) for one, other in classes)):
        raise CpmnError(
            f"{len(alone)} patients, {min(alone)} first, were read by one variant alone or under another label. "
            "A difference is of the same patients: keep readings of another cohort in a folder of their own."
        )


def _over_seeds(by_seed: np.ndarray, seeds: Sequence[int], draws: Draws) -> np.ndarray:
    return (by_seed * draws.of_seeds(seeds)).sum(axis=1) / len(seeds)


def _interval(value: float, drawn: np.ndarray, n: int) -> Estimate:
    if np.ptp(drawn) < SMALLEST_SPREAD:
        return estimate(value, n=n)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return estimate(value, float(low), float(high), n)
