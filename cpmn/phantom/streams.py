"""Independent random streams, one per patient and purpose, so that drawing more of one thing moves nothing else."""

import hashlib

import numpy as np


def random_stream(seed: int, patient: str, purpose: str) -> np.random.Generator:
    """Generator that depends on the cohort's seed, the patient and the purpose ('anatomy', 'emboli', ...) alone."""
    digest = hashlib.sha256(f"{seed}/{patient}/{purpose}".encode()).digest()
    return np.random.default_rng(np.random.SeedSequence(int.from_bytes(digest[:16], "little")))
