"""Made-up crops of six patients and the smallest sensible training."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.config.train import TrainConfig
from cpmn.train.fold import FoldJob
from cpmn.train.stage import train_fold
from cpmn.train.subjects import Subject, crop_files, load_subjects
from cpmn.volume.images import write_image
from tests.settings import train_config

SIZE = (16, 32, 32)  # z, y, x
SPACING = (3.0, 3.0, 4.0)  # x, y, z in mm
PATIENTS = ("n0", "p0", "n1", "p1", "n2", "p2")
LABELS = {patient: int(patient.startswith("p")) for patient in PATIENTS}
TINY = {
    "patch_size": (16, 16, 8),
    "channels": (8, 8),
    "steps": 6,
    "batch_size": 2,
    "epoch_steps": 2,
    "validation_every": 2,
    "save_every": 2,
}


def write_crop(folder: Path, *, label: int, seed: int) -> None:
    """Write `{nct,ctpa,embolus,lung}.nii.gz`: a vessel through lung and, for PE, a bright clot in it."""
    random = np.random.default_rng(seed)
    nct, ctpa, embolus = np.full(SIZE, -850.0), np.full(SIZE, -850.0), np.zeros(SIZE, np.uint8)
    y, x = random.integers(8, 24, size=2)
    vessel = (slice(None), slice(y - 3, y + 3), slice(x - 3, x + 3))
    nct[vessel], ctpa[vessel] = 45.0, 350.0
    if label:
        z = int(random.integers(3, 10))
        clot = (slice(z, z + 4), slice(y - 2, y + 2), slice(x - 2, x + 2))
        nct[clot], ctpa[clot], embolus[clot] = 95.0, 40.0, 1
    noisy = {name: array + random.normal(0, 5, SIZE) for name, array in (("nct", nct), ("ctpa", ctpa))}
    images = {name: array.astype(np.int16) for name, array in noisy.items()}
    for name, array in (images | {"embolus": embolus, "lung": np.ones(SIZE, np.uint8)}).items():
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(SPACING)
        write_image(image, folder / f"{name}.nii.gz")


def loaded(
    patients: Sequence[str], *, crops: Path, paired: Collection[str], masked: Collection[str] = (), **settings: Any
) -> list[Subject]:
    """Subjects of the crops' patients, those `paired` with their CTPA and those `masked` with vessels."""
    files = {
        name: crop_files(crops / name, ("nct", "ctpa") if name in paired else ("nct",), name in masked)
        for name in patients
    }
    return load_subjects(patients, files=files, **settings)


@pytest.fixture(scope="session")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops of six patients, three with PE. Shared by tests: read only."""
    folder = tmp_path_factory.mktemp("crops")
    for seed, patient in enumerate(PATIENTS):
        write_crop(folder / patient, label=LABELS[patient], seed=seed)
    return folder


@pytest.fixture
def make_config() -> Callable[..., TrainConfig]:
    """The tiny settings with changes."""

    def make(**changes: Any) -> TrainConfig:
        return train_config(**(TINY | changes))

    return make


@pytest.fixture
def make_job(crops: Path, make_config: Callable[..., TrainConfig]) -> Callable[..., FoldJob]:
    """Training on the tiny crops into a folder, with changes."""

    def make(folder: Path, config: TrainConfig | None = None, **changes: Any) -> FoldJob:
        given = {
            "variant": "cpmn",
            "fold": 0,
            "config": config or make_config(),
            "training": PATIENTS[:4],
            "validation": ("n2", "p2"),
            "labels": LABELS,
            "paired": PATIENTS,
            "crops": crops,
            "folder": folder,
        }
        return FoldJob.model_validate(given | changes)

    return make


@pytest.fixture
def run_training(make_job: Callable[..., FoldJob]) -> Callable[..., Path]:
    """Training it; `on_epoch` and `on_step` go to `train_fold`, other keywords change the job."""

    def run(folder: Path, config: TrainConfig | None = None, **changes: Any) -> Path:
        hooks = {name: changes.pop(name) for name in ("on_epoch", "on_step") if name in changes}
        train_fold(make_job(folder, config, **changes), **hooks)
        return folder

    return run
