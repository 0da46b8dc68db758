"""Difficulties: how much clots differ from blood on NCT, as mixtures that are drawn from and that an observer may know.

`learnable` is a floor for the demo; `mixed` draws the published mixture for every clot; `realistic` draws it once per
patient, so that about half of the PE patients are nearly isodense, as published; `invisible` has no contrast at all and
shows what a label leaks by other ways. Shares and ranges: domain facts (our design after published counts:
of 51 patients 21 visible, 10 hyper-, 5 hypodense, 6 both).
"""

from dataclasses import dataclass

import numpy as np

PATIENT_SPREAD_HU = 5.0  # `realistic`: clots of one patient lie this far round the patient's contrast
HYPERDENSE, HYPODENSE, ISODENSE = (15.0, 35.0), (-25.0, -8.0), (-8.0, 8.0)  # the lower end of hypodense is our choice


@dataclass(frozen=True)
class Component:
    """A part of a mixture: its share, and the ranges (low, high) in HU of which one is taken with equal chance."""

    name: str
    share: float
    ranges: tuple[tuple[float, float], ...]


PUBLISHED = (
    Component("isodense", 0.55, (ISODENSE,)),
    Component("hyperdense", 0.25, (HYPERDENSE,)),
    Component("hypodense", 0.08, (HYPODENSE,)),
    Component("mixed", 0.12, (HYPERDENSE, HYPODENSE)),
)
MIXTURES: dict[str, tuple[Component, ...]] = {
    "learnable": (Component("hyperdense", 1.0, (HYPERDENSE,)),),
    "mixed": PUBLISHED,
    "realistic": PUBLISHED,
    "invisible": (Component("isodense", 1.0, ((0.0, 0.0),)),),
}
DRAWN_ONCE_PER_PATIENT = ("realistic",)


def draw_contrasts(difficulty: str, count: int, random: np.random.Generator) -> list[tuple[str, float]]:
    """Component and contrast to blood in HU of each of a patient's clots.

    Parameters
    ----------
    difficulty : key of MIXTURES.
    count : number of clots.
    """
    mixture = MIXTURES[difficulty]
    if difficulty not in DRAWN_ONCE_PER_PATIENT:
        return [_draw(_choose(mixture, random), random) for _ in range(count)]
    component = _choose(mixture, random)
    centers = [random.uniform(*limits) for limits in component.ranges]
    spread = random.uniform(-PATIENT_SPREAD_HU, PATIENT_SPREAD_HU, count)
    return [(component.name, float(random.choice(centers) + step)) for step in spread]


def _choose(mixture: tuple[Component, ...], random: np.random.Generator) -> Component:
    return mixture[int(random.choice(len(mixture), p=[component.share for component in mixture]))]


def _draw(component: Component, random: np.random.Generator) -> tuple[str, float]:
    low, high = component.ranges[int(random.integers(len(component.ranges)))]
    return component.name, float(random.uniform(low, high))
