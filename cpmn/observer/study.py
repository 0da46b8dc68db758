"""One patient of the study of the limit: every difficulty and noise level on the same anatomy, clots and noise."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cpmn.config.phantom import PhantomConfig
from cpmn.observer.gaussian import Template, Whitener, d_prime, smooth_power
from cpmn.observer.naive import bright_artery_ml, brightest_artery_hu, mean_artery_hu
from cpmn.observer.priors import DIFFICULTIES
from cpmn.observer.score import responses, score
from cpmn.observer.sites import Candidates, imagine, templates_of
from cpmn.phantom.anatomy import Anatomy, build_anatomy, with_emboli, without_emboli
from cpmn.phantom.emboli import Clot
from cpmn.phantom.image import blood_variation, clean_image
from cpmn.phantom.known import Known, known_of
from cpmn.phantom.render import Grid
from cpmn.phantom.scan import with_noise
from cpmn.phantom.streams import random_stream


@dataclass(frozen=True)
class _Even:
    """What an observer sees who takes the patient's blood for even, and its variation for noise of a known spectrum.

    `response` (n,) is that of the candidates to the noise and the blood's variation together.
    """

    whitener: Whitener
    candidates: Candidates
    response: np.ndarray


@dataclass(frozen=True)
class _Seen:
    """What the observer sees of one patient: all that does not depend on the contrasts of the clots.

    `noise` (z, y, x) in HU is what the scanned twin has beside `twin`.
    """

    twin: np.ndarray
    noise: np.ndarray
    grid: Grid
    clots: tuple[Clot, ...]
    templates: list[Template]
    energy: list[float]
    artery: np.ndarray
    whitener: Whitener
    candidates: Candidates
    noise_response: np.ndarray
    even: _Even


def study_patient(config: PhantomConfig, patient_id: str, noises: Sequence[float], sets: int) -> dict[str, Any]:
    """Scores of one phantom patient on its NCT.

    Only the contrasts differ between the difficulties, and a clot adds its contrast times its share of each voxel
    (tested against the phantom's own scan): difficulties are compared on the same clots and noise.

    Parameters
    ----------
    noises : factors on the configured noise.
    sets : imagined sets of emboli, see `imagine`.

    Returns
    -------
    `patient_id`, `label`, `noise_hu`, `clots` (volume in mL, place) and `readings`, one per difficulty and noise, with
    the scores of the patient, of each site and of each clot.
    """
    anatomy = build_anatomy(config, patient_id)
    known = known_of(config, anatomy)
    seen = _look(config, anatomy, known, sets)
    readings = []
    for difficulty in DIFFICULTIES:
        contrasts = contrasts_of(config, anatomy, difficulty)
        signal = clot_signal(seen.templates, contrasts, seen.twin.shape)
        u = responses(seen.candidates, seen.whitener.apply(signal))
        own = [_read(seen, difficulty, contrasts, signal, u, factor) for factor in noises]
        once = _read_once(seen, difficulty, signal)
        readings += [one | (once if one["noise_factor"] == 1 else {}) for one in own]
    volumes = [float(template.share.sum(dtype=float)) * seen.grid.voxel_ml for template in seen.templates]
    return {
        "patient_id": patient_id,
        "label": anatomy.label,
        "noise_hu": float(known.noise.sd.mean()),
        "candidates": len(seen.candidates.templates),
        "clots": [{"ml": ml, "place": clot.place} for ml, clot in zip(volumes, seen.clots, strict=True)],
        "readings": readings,
    }


def clot_signal(clots: Sequence[Template], contrasts: Sequence[float], shape: tuple[int, ...]) -> np.ndarray:
    """What clots of the given contrasts in HU add to the twin's image (z, y, x)."""
    signal = np.zeros(shape)
    for clot, contrast in zip(clots, contrasts, strict=True):
        signal[clot.box] += contrast * clot.share
    return signal


def contrasts_of(config: PhantomConfig, anatomy: Anatomy, difficulty: str) -> list[float]:
    """Contrast of each clot to blood in HU, as the phantom draws it in that difficulty."""
    if not anatomy.label:
        return []
    changed = with_emboli(config.model_copy(update={"difficulty": difficulty}), without_emboli(anatomy))
    return [clot.over_blood_hu for clot in changed.clots]


def _look(config: PhantomConfig, anatomy: Anatomy, known: Known, sets: int) -> _Seen:
    whitener = Whitener(known.noise.power, known.noise.sd, known.twin.shape)
    random = random_stream(config.seed, anatomy.patient_id, "observer")
    candidates = imagine(anatomy, known.canvas, whitener, sets, random)
    templates = templates_of(anatomy.clots, known.canvas)
    noise = with_noise(config, anatomy.patient_id, "nct", known.twin, known.noise) - known.twin
    even = _look_evenly(config, anatomy, known, candidates, noise)
    return _Seen(
        twin=known.twin,
        noise=noise,
        grid=known.grid,
        clots=anatomy.clots,
        templates=templates,
        energy=[whitener.energy(template) for template in templates],
        artery=known.artery,
        whitener=whitener,
        candidates=candidates,
        noise_response=responses(candidates, whitener.apply(noise)),
        even=even,
    )


def _look_evenly(
    config: PhantomConfig, anatomy: Anatomy, known: Known, candidates: Candidates, noise: np.ndarray
) -> _Even:
    sd, fwhm, _ = blood_variation(config, anatomy.patient_id, "nct")
    more = sd**2 * smooth_power(known.twin.shape, known.grid.spacing, fwhm)
    whitener = Whitener(known.noise.power, known.noise.sd, known.twin.shape, more)
    candidates = replace(candidates, energy=np.array([whitener.energy(one) for one in candidates.templates]))
    even = clean_image(config, known.canvas, without_emboli(anatomy), "nct", even_blood=True)
    return _Even(whitener, candidates, responses(candidates, whitener.apply(noise + known.twin - even)))


def _read_once(seen: _Seen, difficulty: str, signal: np.ndarray) -> dict[str, float]:
    """Scores that are computed for the configured noise alone, or without any."""
    response = seen.even.response + responses(seen.candidates, seen.even.whitener.apply(signal))
    return {
        "score_of_even": score(seen.even.candidates, response, difficulty).patient,
        "brightest_artery_hu_without_noise": brightest_artery_hu(seen.twin + signal, seen.artery, seen.grid.spacing),
    }


def _read(
    seen: _Seen,
    difficulty: str,
    contrasts: Sequence[float],
    signal: np.ndarray,
    signal_response: np.ndarray,
    factor: float,
) -> dict[str, Any]:
    u = signal_response + factor * seen.noise_response
    found = score(seen.candidates, u, difficulty, factor)
    hu = seen.twin + signal + factor * seen.noise
    return {
        "difficulty": difficulty,
        "noise_factor": factor,
        "score": found.patient,
        "score_of_half": score(seen.candidates.every_second(), u[::2], difficulty, factor).patient,
        "bright_artery_ml": bright_artery_ml(hu, seen.artery, seen.grid.spacing),
        "brightest_artery_hu": brightest_artery_hu(hu, seen.artery, seen.grid.spacing),
        "mean_artery_hu": mean_artery_hu(hu, seen.artery),
        "sites": found.sites,
        "contrast_hu": list(contrasts),
        "clot_scores": [found.sites.get(clot.artery) for clot in seen.clots],
        "d_prime": [d_prime(c, b) / factor for c, b in zip(contrasts, seen.energy, strict=True)],
    }
