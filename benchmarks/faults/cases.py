"""Undamaged inputs of each class, and how a damaged copy is read and judged."""

import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from safetensors.torch import save_file

from benchmarks.faults import mutations, oracles
from benchmarks.faults.outcome import Outcome
from cpmn.checks.finding import settle, warnings_of
from cpmn.checks.scan import check_scan
from cpmn.cohort.sheet import load_cohort, missing_files
from cpmn.config.convert import ConvertConfig
from cpmn.config.evaluate import EvaluateConfig
from cpmn.config.files import read_config
from cpmn.config.phantom import PhantomConfig
from cpmn.dicom.scan import read_scan
from cpmn.files import read_json, write_json
from cpmn.model.ensemble import load_folds
from cpmn.model.modelfiles import RunFiles
from cpmn.model.network import build_pathway
from cpmn.model.plan import Plan, read_plan, write_plan
from cpmn.model.seal import sealed, verified
from cpmn.phantom.stage import write_patient
from cpmn.scoring.decision import Unseen, fit_decision

DECISION = Path("evaluate/cpmn/decision.json")
SETTINGS = Path(__file__).parents[2] / "config/tiny.yaml"
COARSE = {"nct_spacing": (4.8, 4.8, 6.0), "ctpa_spacing": (4.8, 4.8, 6.0), "subsample_mm": 2.4}


@dataclass
class Kind:
    """A class of input: `make` copies the undamaged one, `damage` spoils it, `read` gives what becomes of it."""

    name: str
    share: float
    make: Callable[[Path], Path]
    damage: Callable[[Path, np.random.Generator], None]
    read: Callable[[Path], Outcome]


class Inputs:
    """The undamaged inputs, below a folder, and their readings."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.dicom, self.image = self._scan()
        self.warned = set(self._warnings(*self.image))
        self.results = self._model()
        self.sheet = self._sheet()
        self.kinds = [
            Kind("DICOM", 0.36, self._copy(self.dicom), mutations.damage_dicom, self.read_dicom),
            Kind("zip", 0.1, self.zipped, mutations.damage_zip, self.read_dicom),
            Kind("NIfTI", 0.1, self._copy(self._nifti("scan.nii")), mutations.damage_nifti, self.read_nifti),
            Kind("NIfTI, gzip", 0.1, self._copy(self._nifti("scan.nii.gz")), mutations.damage_nifti, self.read_nifti),
            Kind("CSV", 0.1, self._copy(self.sheet), _in_text, self.read_sheet),
            Kind("YAML", 0.08, self._copy(SETTINGS), _in_text, self.read_settings),
            Kind("JSON: plan", 0.04, self._copy(self.results / "train/cpmn/fold-0"), _in_plan, self.read_plan),
            Kind("JSON: decision", 0.04, self._copy(self.results), _in_decision, self.read_model),
            Kind("model", 0.08, self._copy(self.results), _in_weights, self.read_model),
        ]

    def read_dicom(self, source: Path) -> Outcome:
        """A folder or an archive of slices."""
        return self._judged(source, lambda: oracles.gdcm(source) if source.is_dir() else oracles.gdcm_in_zip(source))

    def read_nifti(self, source: Path) -> Outcome:
        """An image file."""
        return self._judged(source, lambda: [oracles.nifti(source)])

    def read_sheet(self, source: Path) -> Outcome:
        """A cohort sheet."""
        patients = load_cohort(source)
        found = [(patient.patient_id, str(patient.label)) for patient in patients]
        if patients == load_cohort(self.sheet.with_name("again.csv")):
            return Outcome("unchanged")
        if any(problem for patient in patients for problem in missing_files(patient)):
            return Outcome("refused")
        same = found == oracles.csv_rows(source.read_text(encoding="utf-8"))
        return Outcome("as stated") if same else Outcome("silent wrong", f"{found}")

    def read_settings(self, source: Path) -> Outcome:
        """A configuration."""
        taken, stated = read_config(source), oracles.yaml_values(source)
        if taken == read_config(SETTINGS):
            return Outcome("unchanged")
        same = oracles.takes_over(taken.model_dump(by_alias=True), stated)
        return Outcome("as stated") if same else Outcome("silent wrong", str(stated))

    def read_plan(self, source: Path) -> Outcome:
        """The plan of a trained network."""
        taken = read_plan(source)
        if taken == read_plan(self.results / "train/cpmn/fold-0"):
            return Outcome("unchanged")
        same = oracles.takes_over(taken.model_dump(), oracles.json_values(source / "plan.json"))
        return Outcome("as stated") if same else Outcome("silent wrong", str(taken))

    def read_model(self, source: Path) -> Outcome:
        """Decision, plan and weights, as `cpmn predict` loads them."""
        taken, whole = (verified(RunFiles(folder, "cpmn")) for folder in (source, self.results))
        load_folds(source / "train/cpmn", len(taken.folds), "cpu")
        if taken == whole:
            return Outcome("unchanged")
        stated, sealed_once = (oracles.json_values(folder / DECISION) for folder in (source, self.results))
        if stated["seal"] != sealed_once["seal"] and oracles.takes_over(taken.model_dump(mode="json"), stated):
            return Outcome("as stated")  # within bounds, and sealed anew
        return Outcome("silent wrong", "another model under the same seal")

    def _judged(self, source: Path, independent: Callable[[], list[Any]]) -> Outcome:
        image, facts = _read(source)
        warned = set(self._warnings(image, facts)) - self.warned
        if oracles.agree(image, self.image[0]):
            return Outcome("unchanged")
        if any(oracles.agree(image, other) for other in independent()):
            return Outcome("warned" if warned else "as stated", "; ".join(warned))
        return Outcome("warned" if warned else "silent wrong", "; ".join(warned) or _described(image))

    @staticmethod
    def _warnings(image: sitk.Image, facts: dict[str, Any]) -> list[str]:
        """Raises CpmnError for what a check refuses."""
        return [*facts["warnings"], *facts["repaired"], *warnings_of(settle(check_scan(image, facts, "nct")))]

    def _scan(self) -> tuple[Path, tuple[sitk.Image, dict[str, Any]]]:
        write_patient(PhantomConfig.model_validate(COARSE), "phantom-001", self.folder / "phantom")
        source = self.folder / "phantom/nct"
        return source, _read(source)

    def _nifti(self, name: str) -> Path:
        path = self.folder / name
        sitk.WriteImage(self.image[0], str(path))
        return path

    def zipped(self, folder: Path) -> Path:
        """The slices as an archive."""
        with zipfile.ZipFile(folder / "scan.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as opened:
            for path in sorted(self.dicom.iterdir()):
                opened.write(path, path.name)
        return folder / "scan.zip"

    def _sheet(self) -> Path:
        rows = [f"p{n},,{self.dicom},,{n % 2},{self.folder / 'scan.nii'},,g{n},," for n in range(1, 9)]
        text = "\n".join(["patient_id,ctpa,nct,ctpa_mask,label,nct_mask,split,group,nct_series,overrule", *rows])
        for name in ("cohort.csv", "again.csv"):
            (self.folder / name).write_text(f"{text}\n", encoding="utf-8")
        return self.folder / "cohort.csv"

    def _model(self) -> Path:
        """A results folder with an untrained network and a sealed decision."""
        results, where = self.folder / "results", self.folder / "results/train/cpmn/fold-0"
        where.mkdir(parents=True)
        sizes = {"spacing": (8, 8, 8), "patch_size": (32, 32, 32), "channels": (8, 16), "strides": [(2, 2, 2)]}
        window = {"window_center": 45, "window_scale": 20, "clip": 4}
        rest = {"variant": "cpmn", "fold": 0, "seed": 0, "fingerprint": {}, "config": {}, "versions": {}}
        plan = Plan.model_validate(sizes | window | rest)
        write_plan(plan, where)
        save_file(build_pathway(plan.channels, plan.strides, plan.seed).state_dict(), where / "model.safetensors")
        seen = [
            Unseen(f"p{label}", label, {0: {"classification": 4.0 * label - 2, "lesion": 3.0 * label}})
            for label in (0, 1)
        ]
        decision = fit_decision(seen, "cpmn", 1, EvaluateConfig()).model_dump(mode="json")
        write_json(results / DECISION, sealed(decision, RunFiles(results, "cpmn")))
        return results

    @staticmethod
    def _copy(source: Path) -> Callable[[Path], Path]:
        def copy(folder: Path) -> Path:
            target = folder / source.name
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copyfile(source, target)
            return target

        return copy


def _read(source: Path) -> tuple[sitk.Image, dict[str, Any]]:
    return read_scan(source, patient="p", phase="nct", series_uid="", config=ConvertConfig())


def _described(image: sitk.Image) -> str:
    values = sitk.GetArrayViewFromImage(image)
    return f"{image.GetSize()} of {image.GetSpacing()} mm, {values.min()} to {values.max()} HU"


def _in_text(path: Path, random: np.random.Generator) -> None:
    text = mutations.damage_text(path.read_text(encoding="utf-8"), random)
    path.write_bytes(text.encode("utf-8", errors="surrogateescape"))


def _in_plan(folder: Path, random: np.random.Generator) -> None:
    _in_text(folder / "plan.json", random)


def _in_decision(results: Path, random: np.random.Generator) -> None:
    """As it stands, or sealed anew where it can be: what is out of bounds must be refused by itself."""
    path = results / DECISION
    _in_text(path, random)
    if random.integers(2):
        try:
            write_json(path, sealed(read_json(path), RunFiles(results, "cpmn")))
        except Exception:  # it is no JSON any more
            return


def _in_weights(results: Path, random: np.random.Generator) -> None:
    path = results / "train/cpmn/fold-0/model.safetensors"
    path.write_bytes(mutations.damage_bytes(path.read_bytes(), random))
