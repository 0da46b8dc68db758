"""The observer's scores: likelihood ratios averaged over what it does not know.

Of one site: L = mean over its candidates and over the contrast of exp(c u - c^2 b / 2).
Of a patient: product over sites of (1 - q + q L), q the site's probability of holding a clot; where a patient's clots
share one contrast, the mean of that product over the contrast.

Approximation, with several clots in a patient: sites are taken as independent, so that the number of clots is that of
independent coins, and the product is the exact likelihood ratio only if templates of different sites do not overlap
after prewhitening. A clot that runs on into a daughter artery speaks for the daughter's site, too. And each mean is
over finitely many candidates. Like any score's, its AUC can therefore lie below the ideal observer's, never above (in
expectation).
"""

from typing import NamedTuple

import numpy as np
from scipy import special

from cpmn.observer.gaussian import response
from cpmn.observer.priors import clot_contrasts, is_shared, patient_contrasts, uniform_log_ratio
from cpmn.observer.sites import Candidates


class Scores(NamedTuple):
    """Log of the likelihood ratio of the patient, and of each site by artery."""

    patient: float
    sites: dict[int, float]


def responses(candidates: Candidates, whitened: np.ndarray) -> np.ndarray:
    """u (n,) in 1/HU of every candidate, from a prewhitened residual (z, y, x)."""
    return np.array([response(template, whitened) for template in candidates.templates])


def score(candidates: Candidates, u: np.ndarray, difficulty: str, noise: float = 1.0) -> Scores:
    """Scores from the candidates' responses u (n,).

    With `noise`, the noise in the image was that many times what was prewhitened for.
    """
    u, b = u / noise**2, candidates.energy / noise**2
    if is_shared(difficulty):
        prior = patient_contrasts(difficulty)
        ratios = np.stack([uniform_log_ratio(*limits, u, b) for limits in prior.ranges])
        sites, logs = _by_site(candidates.site, ratios)
        logs = np.logaddexp(logs[prior.states[:, 0]], logs[prior.states[:, 1]]) - np.log(2)
        weights = prior.log_weights
    else:
        sites, logs = _by_site(candidates.site, clot_contrasts(difficulty).log_ratio(u, b)[None])
        weights = np.zeros(1)
    patient = special.logsumexp(weights + _combined(candidates, sites, logs))
    each = special.logsumexp(weights[:, None] + logs, axis=0)
    return Scores(float(patient), {int(one): float(value) for one, value in zip(sites, each, strict=True)})


def _by_site(site: np.ndarray, logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sites (s,) and the log of the mean ratio (contrasts, s) over each site's candidates; `logs` (contrasts, n)."""
    sites = np.unique(site)
    means = [special.logsumexp(logs[:, site == one], axis=1) - np.log((site == one).sum()) for one in sites]
    return sites, np.stack(means, axis=1)


def _combined(candidates: Candidates, sites: np.ndarray, logs: np.ndarray) -> np.ndarray:
    """Log of the product over sites of (1 - q + q L), for each contrast (contrasts,)."""
    q = np.clip([candidates.probability[int(one)] for one in sites], 1e-9, 1 - 1e-9)
    return np.logaddexp(np.log1p(-q), np.log(q) + logs).sum(axis=1)
