"""A run whose networks see something: untrained ones say 0.01 everywhere."""

import shutil

import pytest
from safetensors.torch import load_file, save_file

from tests.predict.conftest import decision, write_decision
from tests.predict.conftest import results as results  # a fixture


@pytest.fixture
def files(results):
    """Two folds whose probabilities spread from 0 to 1."""
    from cpmn.model.modelfiles import RunFiles

    for path in results.glob("train/cpmn/*/model.safetensors"):
        weights = load_file(path)
        weights["segment.0.weight"] *= 150
        save_file(weights, path)
    write_decision(results, decision())
    return RunFiles(results, "cpmn")


def removed(files):
    """Take the run away: what was exported must stand alone."""
    shutil.rmtree(files.results)
