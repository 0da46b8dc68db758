"""Where clots can lie in a patient: candidates drawn from the generator's own prior, gathered into sites.

The observer knows the patient's arteries. Candidates are the clots of many imagined sets of emboli, drawn as the
phantom draws them, so that place, size, form and filling have exactly the generator's prior. A site is the artery
that a clot starts in; how often it holds one in the imagined sets is its prior probability.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cpmn.observer.gaussian import Template, Whitener
from cpmn.phantom.anatomy import Anatomy
from cpmn.phantom.emboli import Clot, draw_emboli
from cpmn.phantom.materials import Tissue
from cpmn.phantom.render import Canvas


@dataclass(frozen=True)
class Candidates:
    """Imagined clots: their templates, energies b (n,), site of each (n,), and the sites' probabilities by site."""

    templates: list[Template]
    energy: np.ndarray
    site: np.ndarray
    probability: dict[int, float]

    def every_second(self) -> "Candidates":
        """Half of the candidates: scores that change much with them need more imagined sets."""
        return replace(self, templates=self.templates[::2], energy=self.energy[::2], site=self.site[::2])


def imagine(anatomy: Anatomy, canvas: Canvas, whitener: Whitener, sets: int, random: np.random.Generator) -> Candidates:
    """Candidates of a patient.

    Parameters
    ----------
    canvas : the embolus-free twin, drawn in the phase that is read.
    sets : number of imagined sets of emboli.
    """
    drawn = [draw_emboli(anatomy.arteries, anatomy.lungs, "learnable", random, random) for _ in range(sets)]
    clots = [clot for one in drawn for clot in one]
    templates = templates_of(clots, canvas)
    kept = [index for index, template in enumerate(templates) if template.share.any()]
    site = np.array([clots[index].artery for index in kept])
    holds = Counter(artery for one in drawn for artery in {clot.artery for clot in one})
    return Candidates(
        templates=[templates[index] for index in kept],
        energy=np.array([whitener.energy(templates[index]) for index in kept]),
        site=site,
        probability={artery: count / sets for artery, count in holds.items()},
    )


def templates_of(clots: Sequence[Clot], canvas: Canvas) -> list[Template]:
    """Share of each voxel that a clot fills, where the canvas shows artery."""
    return [Template(box, share) for box, share in canvas.shares([clot.shape for clot in clots], Tissue.ARTERY)]
