"""A small phantom for the tests: voxels of 5 mm and more, a second or two per patient."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from cpmn.cohort.phantom import patient_id, phantom_label
from cpmn.config.phantom import PhantomConfig
from cpmn.phantom.anatomy import Anatomy, build_anatomy, without_emboli
from cpmn.phantom.scan import Phase, Scan, scan_phase
from cpmn.phantom.stage import write_patient


@dataclass(frozen=True)
class Scanned:
    """A PE patient, its embolus-free twin, and the scans of both."""

    config: PhantomConfig
    anatomy: Anatomy
    scans: dict[Phase, Scan]
    twin: dict[Phase, Scan]


@pytest.fixture(scope="session")
def tiny() -> PhantomConfig:
    return PhantomConfig(
        patients=4, seed=7, nct_spacing=(5.0, 5.0, 7.0), ctpa_spacing=(4.8, 4.8, 6.0), subsample_mm=2.5
    )


@pytest.fixture(scope="session")
def positive(tiny: PhantomConfig) -> str:
    """Id of a patient with PE."""
    return next(patient_id(index) for index in range(2) if phantom_label(tiny.seed, index))


@pytest.fixture(scope="session")
def negative(tiny: PhantomConfig) -> str:
    """Id of a patient without PE."""
    return next(patient_id(index) for index in range(2) if not phantom_label(tiny.seed, index))


@pytest.fixture(scope="session")
def anatomy(tiny: PhantomConfig, positive: str) -> Anatomy:
    return build_anatomy(tiny, positive)


def scan_both(config: PhantomConfig, name: str) -> Scanned:
    """A patient and its twin at a resolution that leaves pure voxels inside the larger structures."""
    config = config.model_copy(
        update={"nct_spacing": (3.4, 3.4, 4.0), "ctpa_spacing": (3.0, 3.0, 3.0), "subsample_mm": 2.0}
    )
    anatomy = build_anatomy(config, name)
    twin = without_emboli(anatomy)
    phases: tuple[Phase, ...] = ("nct", "ctpa")
    return Scanned(
        config,
        anatomy,
        {phase: scan_phase(config, anatomy, phase) for phase in phases},
        {phase: scan_phase(config, twin, phase) for phase in phases},
    )


@pytest.fixture(scope="session")
def scanned(tiny: PhantomConfig, positive: str) -> Scanned:
    """The PE patient with everything that a scan shows beside emboli."""
    return scan_both(tiny, positive)


@pytest.fixture(scope="session")
def plain(tiny: PhantomConfig, positive: str) -> Scanned:
    """The same without nuisance, where tissues have just their own attenuation."""
    return scan_both(tiny.model_copy(update={"nuisance": False}), positive)


@pytest.fixture(scope="session")
def written(tiny: PhantomConfig, positive: str, negative: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with one patient of each class, as the stage writes them."""
    folder = tmp_path_factory.mktemp("phantom")
    for name in (positive, negative):
        write_patient(tiny, name, folder / name)
    return folder
