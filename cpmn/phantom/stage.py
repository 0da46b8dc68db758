"""The `phantom` stage: a patient's files, and the cohort sheet."""

import csv
import logging
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cpmn
from cpmn.cohort.phantom import phantom_rows
from cpmn.config.phantom import PhantomConfig
from cpmn.errors import CpmnError
from cpmn.files import read_json, sha256_of_json, write_json, write_table
from cpmn.phantom.anatomy import Anatomy, build_anatomy
from cpmn.phantom.dicom import write_series
from cpmn.phantom.emboli import Clot
from cpmn.phantom.materials import Tissue
from cpmn.phantom.motion import Term
from cpmn.phantom.scan import Phase, Scan, grid_image, motion_image, phase_protocol, scan_phase, vessel_labels
from cpmn.volume.images import write_image

PHASES: tuple[Phase, ...] = ("ctpa", "nct")
MADE_UP = re.compile(r"phantom-\d+|chest\d+-\d+")  # ids of `phantom_rows` and of pairs from real chests
logger = logging.getLogger(__name__)


def settings_key(config: PhantomConfig, truth_only: bool) -> str:
    """Hash of everything that a patient's files depend on; the size of the cohort is not among it."""
    optional = set() if config.vessels else {"vessels"}  # off: the key is that of a phantom without the option
    settings = config.model_dump(mode="json", exclude={"patients", "reported"} | optional)
    return sha256_of_json({"settings": settings, "truth_only": truth_only, "version": cpmn.__version__})


def is_finished(folder: Path, settings: str) -> bool:
    """Whether `folder` holds a patient that was made with these settings (a hash); `phantom.json` is written last."""
    try:
        return read_json(folder / "phantom.json").get("settings") == settings
    except (OSError, ValueError, AttributeError):
        return False


def clear(folder: Path) -> None:
    """Remove `phantom.json` and the DICOM files of an earlier run: a patient that is half made is not finished."""
    (folder / "phantom.json").unlink(missing_ok=True)
    for file in (file for phase in PHASES for file in (folder / phase).glob("*.dcm")):
        file.unlink()


def refuse_other_cohort(folder: Path) -> None:
    """Raise CpmnError if `folder` holds a cohort sheet that no phantom wrote, before it is replaced."""
    path = folder / "cohort.csv"
    if not path.is_file():
        return
    with path.open(newline="", encoding="utf-8", errors="replace") as stream:
        names = [row.get("patient_id") or "" for row in csv.DictReader(stream)]
    if not all(map(MADE_UP.fullmatch, names)):
        raise CpmnError(f"{path} names patients that no phantom has, and would be replaced. Choose another folder.")


def write_cohort(config: PhantomConfig, folder: Path, truth_only: bool = False) -> None:
    """Write `folder/cohort.csv`."""
    rows = phantom_rows(config, truth_only)
    write_table(Path(folder) / "cohort.csv", list(rows[0]), rows)


def write_patient(config: PhantomConfig, patient_id: str, folder: Path) -> None:
    """Make a patient and write everything that is known about it.

    Files in `folder`: `ctpa/` and `nct/` (DICOM series), `ctpa_mask.nii.gz` (PE only) and `nct_truth.nii.gz` (clot
    ids on each phase's grid), `motion.nii.gz` (vectors u in mm, LPS, on the NCT grid: NCT point x shows CTPA point
    x + u(x)), with `config.vessels` `vessels.nii.gz` (see `vessel_labels`) and `phantom.json` (how the patient was
    made, with the motion as a formula). DICOM files of an earlier run are removed. Raises CpmnError for an id that no
    phantom has.
    """
    folder = Path(folder)
    anatomy = build_anatomy(config, patient_id)
    scans: dict[Phase, Scan] = {phase: scan_phase(config, anatomy, phase) for phase in PHASES}
    clear(folder)
    for phase, scan in scans.items():
        write_series(scan, patient_id, config.seed, folder / phase)
    if anatomy.label:
        write_image(grid_image(scans["ctpa"].clots, scans["ctpa"].grid), folder / "ctpa_mask.nii.gz")
    else:
        (folder / "ctpa_mask.nii.gz").unlink(missing_ok=True)
    write_image(grid_image(scans["nct"].clots, scans["nct"].grid), folder / "nct_truth.nii.gz")
    write_image(motion_image(anatomy, scans["nct"].grid), folder / "motion.nii.gz")
    _write_vessels(config, anatomy, scans["nct"], folder)
    write_json(folder / "phantom.json", describe(config, anatomy, scans) | {"settings": settings_key(config, False)})
    logger.info("%s: label %d, %d clots", patient_id, anatomy.label, len(anatomy.clots))


def write_truth(config: PhantomConfig, patient_id: str, folder: Path) -> None:
    """Make a patient's NCT alone, for scoring: `nct.nii.gz` (int16 HU), `nct_truth.nii.gz` and `phantom.json`.

    The voxels are those of `write_patient`. DICOM files of an earlier run are removed. Raises CpmnError for an id that
    no phantom has.
    """
    folder = Path(folder)
    anatomy = build_anatomy(config, patient_id)
    scan = scan_phase(config, anatomy, "nct")
    clear(folder)
    write_image(grid_image(scan.hu, scan.grid), folder / "nct.nii.gz")
    write_image(grid_image(scan.clots, scan.grid), folder / "nct_truth.nii.gz")
    _write_vessels(config, anatomy, scan, folder)
    described = describe(config, anatomy, {"nct": scan})
    write_json(folder / "phantom.json", described | {"settings": settings_key(config, True)})
    logger.info("%s: label %d, %d clots", patient_id, anatomy.label, len(anatomy.clots))


def describe(config: PhantomConfig, anatomy: Anatomy, scans: dict[Phase, Scan]) -> dict[str, Any]:
    """Contents of `phantom.json`: truth about a patient, for checks and subgroup analyses."""
    return {
        "synthetic": True,
        "patient_id": anatomy.patient_id,
        "label": anatomy.label,
        "seed": config.seed,
        "difficulty": config.difficulty,
        "scale": anatomy.scale,
        "habitus": asdict(anatomy.habitus),
        "findings": anatomy.findings.counts(),
        "protocol": {phase: asdict(phase_protocol(config, anatomy, phase)) for phase in scans},
        "noise_hu": {phase: float(scan.noise.sd.mean()) for phase, scan in scans.items()},
        "hu": {phase: _tissue_hu(anatomy, phase) for phase in scans},
        "trunk_diameter_mm": 2 * anatomy.arteries.branches[0].radius,
        "motion": {
            "meaning": "NCT point x shows CTPA point x + u(x); u is the sum over the terms of amplitude times the "
            "product over the axes of t^order exp(-t^power), t = (coordinate - center) / width; mm, LPS",
            "terms": [_term(term) for term in anatomy.motion.terms],
        },
        "clots": [_clot(clot, scans) for clot in anatomy.clots],
    }


def _write_vessels(config: PhantomConfig, anatomy: Anatomy, nct: Scan, folder: Path) -> None:
    path = folder / "vessels.nii.gz"
    if config.vessels:
        write_image(grid_image(vessel_labels(config, anatomy), nct.grid), path)
    else:
        path.unlink(missing_ok=True)


def _tissue_hu(anatomy: Anatomy, phase: Phase) -> dict[str, float]:
    table = anatomy.attenuation.nct if phase == "nct" else anatomy.attenuation.ctpa
    return {tissue.name.lower(): float(table[tissue]) for tissue in Tissue}


def _term(term: Term) -> dict[str, Any]:
    bells = [{"center": b.center, "width": b.width, "power": b.power, "order": b.order} for b in term.bells]
    return {"amplitude": term.amplitude, "bells": bells}


def _clot(clot: Clot, scans: dict[Phase, Scan]) -> dict[str, Any]:
    return {
        "id": clot.clot_id,
        "place": clot.place,
        "level": clot.level,
        "age": clot.age,
        "form": clot.form,
        "occlusion": clot.occlusion,
        "center_ctpa_mm": clot.center,
        "length_mm": clot.length_mm,
        "contrast": clot.contrast,
        "nct_hu_over_blood": clot.over_blood_hu,
        "ctpa_hu": clot.ctpa_hu,
        "ml": {phase: scan.clot_ml[clot.clot_id] for phase, scan in scans.items()},
        "voxels": {phase: int((scan.clots == clot.clot_id).sum()) for phase, scan in scans.items()},
    }
