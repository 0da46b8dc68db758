"""A results folder of tiny volumes and a stand-in for the network, so that `evaluate` runs in milliseconds."""

import csv
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.cohort.sheet import Patient
from cpmn.config.evaluate import EvaluateConfig
from cpmn.files import write_json
from cpmn.job.status import OnBadPatient
from cpmn.model import ensemble
from cpmn.model.inference import Prediction
from cpmn.model.plan import Plan
from cpmn.volume.images import write_image

SHAPE = (8, 20, 24)  # z, y, x
BOX = (slice(1, 7), slice(2, 18), slice(2, 22))
CLOT = (slice(3, 5), slice(6, 10), slice(6, 12))
SPACING = (1.0, 1.0, 2.5)


def volume(array: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING)
    image.SetOrigin((-10.0, 5.0, 30.0))
    return image


def clot(value: int = 1) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint16)
    mask[CLOT] = value
    return mask


def rows_of(folder: Path) -> dict[str, dict[str, str]]:
    """Rows of patients.csv by patient."""
    with (folder / "patients.csv").open(newline="") as stream:
        return {row["patient_id"]: row for row in csv.DictReader(stream)}


@dataclass
class Tree:
    """A cohort with its results; everything that a test may want to change before it evaluates."""

    root: Path
    patients: list[Patient]
    splits: dict

    CLOT = CLOT
    BOX = BOX
    SHAPE = SHAPE
    clot = staticmethod(clot)
    volume = staticmethod(volume)
    rows = staticmethod(rows_of)

    @property
    def results(self) -> Path:
        return self.root / "results"

    def add(self, name: str, label: int, *, marked_hu: float = 0.0, truth: np.ndarray | None = None) -> None:
        """A patient whose NCT is 0 HU, `marked_hu` where a clot would be; the stand-in sees bright voxels as clot."""
        hu = np.zeros(SHAPE, np.int16)
        hu[CLOT] = marked_hu
        image = volume(hu)
        write_image(image, self.results / "convert" / name / "nct.nii.gz")
        z, y, x = BOX
        write_image(image[x, y, z], self.results / "crop" / name / "nct.nii.gz")
        write_image(volume(np.ones(SHAPE, np.uint8))[x, y, z], self.results / "crop" / name / "lung.nii.gz")
        facts = {"contrast": {"evidence": "absent", "from": "image"}, "scanner": None}
        write_json(self.results / "convert" / name / "nct.json", facts)
        clots = {"embolus_ml": 1.0 * label, "embolus_ml_outside": 0.0}
        write_json(self.results / "crop" / name / "crop.json", {"lungs_cut_by_scan": [], **clots})
        write_image(volume(clot(label)), self.results / "propagate" / name / "embolus.nii.gz")
        path = None
        if truth is not None:
            path = self.root / "truth" / f"{name}.nii.gz"
            write_image(volume(truth), path)
        row = {"patient_id": name, "nct": self.root / name, "label": label, "nct_truth": path}
        if label:
            row |= {"ctpa": self.root / f"{name}-ctpa", "ctpa_mask": self.root / f"{name}-ctpa-mask.nii.gz"}
        self.patients.append(Patient.model_validate(row))

    def add_vessels(self, name: str, vessels: np.ndarray | None) -> None:
        """Name a vessel mask in the patient's row, as `crop` cuts it; None is one that it left out."""
        z, y, x = BOX
        path = self.results / "crop" / name / "vessels.nii.gz"
        if vessels is None:
            path.write_bytes(b"")
        else:
            write_image(volume(vessels)[x, y, z], path)
        found = {"vessels": self.root / f"{name}-vessels.nii.gz"}
        self.patients = [p.model_copy(update=found) if p.patient_id == name else p for p in self.patients]

    def evaluate(
        self, variant: str = "cpmn", excluded: dict | None = None, on_bad_patient: OnBadPatient = "stop", **values
    ) -> Path:
        """Evaluate into `evaluate/{variant}` and return that folder."""
        from cpmn.evaluate.stage import evaluate_variant

        folder = self.results / "evaluate" / variant
        evaluate_variant(
            variant=variant,
            splits=self.splits,
            patients=self.patients,
            results=self.results,
            excluded=excluded or {},
            folder=folder,
            config=EvaluateConfig.model_validate({"bootstrap_samples": 100} | values),
            threads=1,
            on_bad_patient=on_bad_patient,
        )
        return folder


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that calls a voxel an embolus by its HU, and whose fold number shifts its class logit."""

    def predict(
        model: SimpleNamespace, nct: sitk.Image, highest_hu: float | None = None, **_options: object
    ) -> Prediction:
        hu = sitk.GetArrayFromImage(nct).astype(np.float32)
        logit = float(hu.max()) / 20 - 1 + model.fold
        seen = np.where(hu > (np.inf if highest_hu is None else highest_hu), 0, hu)
        return Prediction((seen / 100).clip(0, 1), (hu / 200).clip(0, 1), 1 / (1 + np.exp(-logit)))

    def load(folder: Path, _device: str) -> SimpleNamespace:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.safetensors").write_text(folder.name)
        write_json(folder / "plan.json", {"versions": {"cpmn": "0.1.0"}})
        plan = Plan.model_construct(fingerprint={})
        return SimpleNamespace(fold=int(folder.name.removeprefix("fold-")), plan=plan)

    monkeypatch.setattr(ensemble, "load_model", load)
    monkeypatch.setattr(ensemble, "predict_crop", predict)


@pytest.fixture
def tree(tmp_path: Path, stand_in: None) -> Tree:
    """Two folds of one PE and one normal each, and four test patients: found, missed, clean, false alarm."""
    made = Tree(tmp_path, [], {"test": ["t1", "t2", "t3", "t4"], "folds": []})
    for fold in range(2):
        made.add(f"v{fold}pe", 1, marked_hu=90, truth=clot())
        made.add(f"v{fold}no", 0, marked_hu=20, truth=clot(0))
        names = [f"v{fold}pe", f"v{fold}no"]
        made.splits["folds"].append({"train": [f"v{1 - fold}pe", f"v{1 - fold}no"], "validation": names})
    made.add("t1", 1, marked_hu=80, truth=clot(5))
    made.add("t2", 1, marked_hu=10, truth=clot(5))
    made.add("t3", 0, marked_hu=10, truth=clot(0))
    made.add("t4", 0, marked_hu=95, truth=clot(0))
    return made
