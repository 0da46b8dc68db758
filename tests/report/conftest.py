"""A small finished run, written by hand exactly as the contract says."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.cohort.sheet import Patient
from cpmn.config.root import load_config
from cpmn.files import write_json, write_text
from cpmn.report.stage import write_report
from cpmn.volume.images import write_image

SIZE = (30, 24, 8)  # x, y, z
SPACING = (3.0, 3.0, 4.0)
COLUMNS = (
    "epoch,step,learning_rate,seconds,train_total,train_segmentation,train_classification,train_mutual,"
    "train_alignment,train_discrepancy,validation_loss,validation_dice,validation_auc"
)
CASE_COLUMNS = (
    "patient_id,split,fold,label,score,threshold,decision,dice,reference_ml,predicted_ml,lesions,lesions_found,"
    "false_positives,reference,indeterminate,excluded_reason"
)
COMPARISON_COLUMNS = (
    "variant,base,seed,cohort,metric,value,low,high,n,versus,difference,difference_low,difference_high,p"
)
VARIANTS = {"cpmn": {"base": "cpmn", "seed": 0}, "nct_only": {"base": "nct_only", "seed": 0}}
TEST = ["p01", "p02", "p03", "p04"]
SECRET_NAME = "DOE_JANE"  # a patient's name in a path; it may reach no page


class Run:
    """A finished run on disk, and the arguments of `write_report`."""

    test = TEST
    secret_name = SECRET_NAME
    page = ""

    def __init__(self, root: Path):
        self.root, self.results, self.output = root, root / "results", root / "results" / "report"
        self.config = load_config({})
        self.variants: dict[str, dict[str, Any]] = dict(VARIANTS)
        self.flags: dict[str, Any] = {
            "synthetic": True,
            "data_hash": "abc123",
            "commit": "f00dbabe",
            "cohort": "phantom-learnable",
            "difficulty": "learnable",
        }
        scans = root / "scans" / SECRET_NAME
        self.patients = [
            Patient.model_validate(
                {
                    "patient_id": f"p{i:02d}",
                    "nct": scans / "nct",
                    "ctpa": scans / "ctpa",
                    "ctpa_mask": scans / "mask.nii.gz" if i % 2 else None,
                    "label": i % 2,
                }
            )
            for i in range(1, 13)
        ]

    def image(self, array: np.ndarray) -> sitk.Image:
        """Image of an array (z, y, x) on the native NCT grid."""
        return image(array)

    def write(self) -> str:
        """Write the report and return the page."""
        write_report(
            results=self.results,
            patients=self.patients,
            config=self.config,
            variants=self.variants,
            output=self.output,
            flags=self.flags,
        )
        return (self.output / "index.html").read_text(encoding="utf-8")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A finished run of a test's own, with two learning curves alone: drawing is what takes time."""
    return _write_run(tmp_path, columns=["epoch", "step", "seconds", "train_total", "validation_dice"])


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run whose report is written, for tests that only read; `page` is the page."""
    made = _write_run(tmp_path_factory.mktemp("finished"), columns=COLUMNS.split(","))
    made.page = made.write()
    return made


def _write_run(root: Path, columns: Sequence[str]) -> Run:
    """A finished run of 12 patients (PE are the odd ones) and two variants; p05 was excluded at `register`."""
    made = Run(root)
    for patient in made.patients:
        _write_patient(made.results, patient)
    _write_training(made.results, columns)
    for variant in made.variants:
        _write_evaluation(made.results, variant)
    difference = "cpmn,cpmn,0,phantom,patient.auc,0.75,0.3,1.0,4,nct_only,0.25,-0.2,0.6,0.31"
    write_text(made.results / "evaluate" / "comparison.csv", f"{COMPARISON_COLUMNS}\n{difference}\n")
    return made


def image(array: np.ndarray) -> sitk.Image:
    """Image of an array (z, y, x) on the native NCT grid of the fixture."""
    made = sitk.GetImageFromArray(array)
    made.SetSpacing(SPACING)
    made.SetOrigin((-40.0, -30.0, 100.0))
    return made


def embolus(label: int) -> np.ndarray:
    """One clot of 3 x 4 x 5 voxels, largest on slice 4."""
    mask = np.zeros(SIZE[::-1], dtype=np.uint8)
    if label:
        mask[3:6, 10:14, 12:17] = 1
        mask[4, 14, 12:17] = 1
    return mask


def _write_patient(results: Path, patient: Patient) -> None:
    name, rng = patient.patient_id, np.random.default_rng(int(patient.patient_id[1:]))
    nct = rng.normal(45, 10, SIZE[::-1]).astype(np.int16)
    write_image(image(nct), results / "convert" / name / "nct.nii.gz")
    for phase, contrast in (("nct", "absent"), ("ctpa", "present")):
        record = {
            "phase": phase,
            "scanner": {"manufacturer": "ACME", "model": "Phantom 1"},
            "kernel": "B30f",
            "contrast": {"evidence": contrast, "from": "SeriesDescription"},
            "spacing_mm": SPACING,
            "source_sha256": f"{name}-{phase}",
            "repaired": [],
            "rejected": [],
        }
        write_json(results / "convert" / name / f"{phase}.json", record)
    write_image(image(embolus(patient.label)), results / "propagate" / name / "embolus.nii.gz")
    write_image(image(nct)[4:26, 3:21, 1:7], results / "crop" / name / "nct.nii.gz")
    clots = {"embolus_ml": 2.0 * patient.label, "embolus_ml_outside": 0.0}
    write_json(results / "crop" / name / "crop.json", {"index": [4, 3, 1], "size": [22, 18, 6], **clots})
    _write_registration(results, patient)


def _write_registration(results: Path, patient: Patient) -> None:
    from matplotlib.image import imsave

    name, failed = patient.patient_id, patient.patient_id == "p05"
    quality = {
        "lung_dice": 0.95,
        "jacobian_min": 0.4,
        "folding_fraction": 0.0,
        "seconds": 20.5,
        "threads": 2,
        "passed": name != "p07",
        "reason": "lung Dice 0.41 is below 0.8" if name == "p07" else "",
    }
    folder = results / "register" / name
    folder.mkdir(parents=True)
    if failed:  # what run_patient_stage leaves of an excluded patient
        (folder / "quality.json").write_bytes(b"")
        (folder / "quality.png").write_bytes(b"")
    else:
        write_json(folder / "quality.json", quality)
        imsave(folder / "quality.png", np.random.default_rng(0).random((40, 90)), cmap="gray")
    reason = f"patient p05: the lungs were not found ({patient.nct}). Check the scan." if failed else ""
    for stage in ("register", "propagate", "crop"):
        status = {"patient": name, "passed": not failed, "stage": "register" if failed else stage, "reason": reason}
        write_json(results / stage / name / "status.json", status)


def _write_training(results: Path, columns: Sequence[str]) -> None:
    rest = [f"p{i:02d}" for i in range(5, 13)]
    folds = [{"train": rest[:6], "validation": rest[6:]}]
    splits = {"seed": 0, "method": "seeded hash of patient ids", "test": TEST, "folds": folds}
    write_json(results / "train" / "splits.json", splits)
    for variant in VARIANTS:
        rows = [_history_row(epoch) for epoch in range(1, 9)]
        folder = results / "train" / variant / "fold-0"
        lines = [",".join(columns), *(",".join(row[column] for column in columns) for row in rows)]
        write_text(folder / "history.csv", "\n".join(lines) + "\n")
        write_json(folder / "plan.json", {"device": "NVIDIA H100", "parameters": 777524} if variant == "cpmn" else {})


def _history_row(epoch: int) -> dict[str, str]:
    losses = [f"{weight / epoch:.3f}" for weight in (2, 1, 0.5, 0.2, 0.2, 0.1)]
    validation = [f"{1.1 / epoch:.3f}", f"{0.08 * epoch:.3f}", f"{0.5 + 0.05 * epoch:.3f}"]
    cells = [
        f"{epoch}",
        f"{50 * epoch}",
        "0.001",
        f"{11.5 * epoch}",
        *losses,
        *(validation if epoch % 4 == 0 else "   "),
    ]
    return dict(zip(COLUMNS.split(","), (cell.strip() for cell in cells), strict=True))


def _write_evaluation(results: Path, variant: str) -> None:
    folder = results / "evaluate" / variant
    write_json(folder / "metrics.json", metrics_of(variant))
    write_text(folder / "patients.csv", "\n".join([CASE_COLUMNS, *_case_rows()]) + "\n")
    write_text(folder / "roc.csv", "fpr,tpr,threshold\n0,0,\n0,0.5,0.9\n0.5,0.5,0.6\n0.5,1,0.4\n1,1,0.1\n")
    for name in TEST:
        found = embolus(int(name[1:]) % 2)
        cam = np.zeros(SIZE[::-1], dtype=np.float32)
        cam[2, 12, 20] = 0.9
        write_image(image(found), folder / "predictions" / f"{name}.nii.gz")
        write_image(image(cam), folder / "cam" / f"{name}.nii.gz")


def metrics_of(variant: str) -> dict[str, Any]:
    """metrics.json of a variant; the Dice of `nct_only` is not defined."""
    proportion = {"value": 0.5, "low": 0.09, "high": 0.91, "n": 2}
    dice = {"value": 0.61, "low": 0.4, "high": 0.8, "n": 2} if variant == "cpmn" else {"value": None, "n": 0}
    return {
        "reference": "propagated",
        "references": {"propagated": 4},
        "patient": {
            "sensitivity": proportion,
            "specificity": proportion,
            "auc": {"value": 0.75, "low": 0.3, "high": 1.0, "n": 4},
            "brier": None,
        },
        "voxel": {"dice": dice, "assd_mm": {"value": 2.5, "low": 1.0, "high": 4.0, "n": 2}},
        "lesion": {"marks_within_2_mm": {"sensitivity": {"value": 0.5, "low": 0.1, "high": 0.9, "n": 2}}},
        "threshold": {
            "value": 0.5,
            "rule": "lowest score with specificity >= 0.95 on validation normals",
            "target": 0.95,
            "fitted_on": "out-of-fold validation patients",
            "n_pe": 1,
            "n_normal": 1,
        },
    }


def _case_rows() -> list[str]:
    return [
        "p01,test,,1,0.9,0.5,1,0.61,2.34,2.1,1,1,0,propagated,noise,",
        "p02,test,,0,0.6,0.5,1,,0,0.4,0,0,1,propagated,noise; cut,",
        "p03,test,,1,0.4,0.5,0,0.0,1.9,0.0,1,0,0,propagated,contradiction,",
        "p04,test,,0,0.1,0.5,0,,0,0,0,0,0,propagated,,",
        "p11,validation,0,1,0.7,0.5,1,0.5,2,2,1,1,0,propagated,,",
        "p12,validation,0,0,0.2,0.5,0,,0,0,0,0,0,propagated,,",
    ]
