"""Test patients: the slice worth looking at, with reference, prediction and class-activation map."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from tqdm import tqdm

from cpmn.cohort.kinds import is_reported
from cpmn.cohort.sheet import Patient
from cpmn.config.report import ReportConfig
from cpmn.job.redact import without_paths
from cpmn.report.collect import REFERENCE_TEXT, Results, number
from cpmn.report.pictures import cam_picture, grey_picture, largest_part, outline_path
from cpmn.report.tables import LABEL_TEXT, decision
from cpmn.volume.overlay import read_upright, telling_slice

Box = tuple[float, float, float, float]  # x, y, width, height in mm from the corner of the picture
Volume = tuple[np.ndarray, sitk.Image]


@dataclass(frozen=True)
class Panel:
    """Pictures of one patient and variant at one slice; paths are in voxels, boxes in mm."""

    slice_key: str
    slice_text: str
    whole: Box
    zoom: Box
    scale: tuple[float, float]
    reference: str
    prediction: str
    cam: str
    cam_text: str
    chosen_by: str


@dataclass(frozen=True)
class Verdict:
    """What one variant says about one test patient."""

    variant: str
    colour: int
    score: float | None
    threshold: float | None
    decision: bool | None
    correct: bool | None
    dice: float | None
    excluded_reason: str
    row: dict[str, Any]
    panel: Panel | None


@dataclass(frozen=True)
class Exhibit:
    """One test patient; `slices` are the grey pictures by key, shared by the panels."""

    patient: str
    label: int
    label_text: str
    verdicts: list[Verdict]
    slices: dict[str, dict[str, Any]]
    reference_shown: str
    reference_scored: str

    @property
    def wrong(self) -> int:
        """Number of variants that decided wrongly."""
        return sum(verdict.correct is False for verdict in self.verdicts)


@dataclass(frozen=True)
class Volumes:
    """Volumes of one patient on the native NCT grid, each (z, y, x) in LPS order."""

    nct: np.ndarray
    spacing: tuple[float, float, float]
    field: tuple[slice, slice]
    reference: np.ndarray | None
    reference_name: str
    predictions: dict[str, np.ndarray]
    cams: dict[str, np.ndarray]


def build_gallery(results: Results, config: ReportConfig) -> list[Exhibit]:
    """Test patients with their pictures, wrong decisions first, at most `maximum_patients`."""
    order = sorted(results.test, key=lambda patient: _failure_rank(results, patient))
    chosen = order[: config.maximum_patients]
    return [_exhibit(results, patient, config) for patient in tqdm(chosen, desc="test patients", disable=None)]


def _failure_rank(results: Results, patient: Patient) -> tuple[int, int, float, str]:
    rows = [_row(results, patient, variant) for variant in results.scored]
    wrong = sum(decision(row) not in (None, bool(patient.label)) for row in rows)
    missing = sum(decision(row) is None for row in rows)
    dices = [number(row.get("dice")) for row in rows]
    return -wrong, -missing, min((d for d in dices if d is not None), default=1.0), patient.patient_id


def _exhibit(results: Results, patient: Patient, config: ReportConfig) -> Exhibit:
    volumes = _volumes(results, patient)
    slices: dict[str, dict[str, Any]] = {}
    verdicts = []
    for index, variant in enumerate(results.variants):
        panel = _panel(volumes, patient, variant, config, slices) if volumes else None
        verdicts.append(_verdict(results, patient, variant, index, panel))
    shown = volumes.reference_name if volumes and volumes.reference is not None else ""
    kind = next((verdict.row["reference"] for verdict in verdicts if verdict.row.get("reference")), "")
    scored = REFERENCE_TEXT.get(kind, kind)
    return Exhibit(patient.patient_id, patient.label, LABEL_TEXT[patient.label], verdicts, slices, shown, scored)


def _row(results: Results, patient: Patient, variant: str) -> dict[str, Any]:
    """The cells of a patient's row that are filled."""
    scored, name = results.scored[variant], patient.patient_id
    return scored.loc[name].dropna().to_dict() if name in scored.index else {}


def _verdict(results: Results, patient: Patient, variant: str, index: int, panel: Panel | None) -> Verdict:
    row = _row(results, patient, variant)
    said = decision(row)
    threshold = row.get("threshold", (results.metrics[variant].get("threshold") or {}).get("value"))
    return Verdict(
        variant=variant,
        colour=index,
        score=number(row.get("score")),
        threshold=number(threshold),
        decision=said,
        correct=None if said is None else said == bool(patient.label),
        dice=number(row.get("dice")),
        excluded_reason=without_paths(row.get("excluded_reason", ""), patient),
        row=row,
        panel=panel,
    )


def _volumes(results: Results, patient: Patient) -> Volumes | None:
    root, name = results.root, patient.patient_id
    nct = read_upright(root / "convert" / name / "nct.nii.gz")
    if nct is None:
        return None
    size = nct.GetSize()
    reference, reference_name = _reference(results, patient, size)
    maps = {
        kind: {
            variant: array
            for variant in results.variants
            if (array := _array(root / "evaluate" / variant / kind / f"{name}.nii.gz", size)) is not None
        }
        for kind in ("predictions", "cam")
    }
    spacing = (nct.GetSpacing()[0], nct.GetSpacing()[1], nct.GetSpacing()[2])
    return Volumes(
        sitk.GetArrayViewFromImage(nct).copy(),
        spacing,
        _field(root, name, nct),
        reference,
        reference_name,
        maps["predictions"],
        maps["cam"],
    )


def _reference(results: Results, patient: Patient, size: tuple[int, ...]) -> tuple[np.ndarray | None, str]:
    """The reference as scored, if `evaluate` kept it; otherwise the best label that is not reserved for scoring.

    None where nobody outlined a patient with PE, and of a label that a failed registration carried.
    """
    candidates = [
        (results.root / "evaluate" / variant / "reference" / f"{patient.patient_id}.nii.gz", "reference as scored")
        for variant in results.variants
    ]
    source = "outline by annotate, drawn by no person" if is_reported(patient) else "propagated CTPA label"
    if patient.nct_mask:
        source = "direct annotation (nct_mask)"  # `propagate` brought it onto the NCT's grid, whatever its format
    if patient.nct_mask or results.quality.get(patient.patient_id, {}).get("passed") is not False:
        candidates.append((results.root / "propagate" / patient.patient_id / "embolus.nii.gz", source))
    for path, text in candidates:
        array = _array(path, size)
        if array is not None and (array.any() or not patient.label):
            return array > 0, text
    return None, ""


def _array(path: Path, size: tuple[int, ...]) -> np.ndarray | None:
    image = read_upright(path)
    return None if image is None or image.GetSize() != size else sitk.GetArrayFromImage(image)


def _field(root: Path, name: str, nct: sitk.Image) -> tuple[slice, slice]:
    """Rows and columns of the lung box, so that the pictures show the chest and not the table."""
    size = nct.GetSize()
    crop = read_upright(root / "crop" / name / "nct.nii.gz")
    if crop is None:
        return slice(0, size[1]), slice(0, size[0])
    start = nct.TransformPhysicalPointToIndex(crop.GetOrigin())
    first = [min(max(value, 0), limit - 1) for value, limit in zip(start, size, strict=True)]
    last = [min(f + n, limit) for f, n, limit in zip(first, crop.GetSize(), size, strict=True)]
    return slice(first[1], last[1]), slice(first[0], last[0])


def _panel(
    volumes: Volumes, patient: Patient, variant: str, config: ReportConfig, slices: dict[str, dict[str, Any]]
) -> Panel | None:
    prediction, cam = volumes.predictions.get(variant), volumes.cams.get(variant)
    index, chosen_by = telling_slice(volumes.nct.shape[0], reference=volumes.reference, prediction=prediction, cam=cam)
    rows, columns = volumes.field
    reference = None if volumes.reference is None else volumes.reference[index, rows, columns]
    marked = None if prediction is None else prediction[index, rows, columns] > 0
    glow = None if cam is None else cam[index, rows, columns]
    key = f"{patient.patient_id}-{index}"
    if key not in slices:
        slices[key] = _grey(volumes, index, config)
    return Panel(
        slice_key=key,
        slice_text=f"slice {index + 1} of {volumes.nct.shape[0]}",
        whole=(0.0, 0.0, slices[key]["width"], slices[key]["height"]),
        zoom=_zoom(_focus(reference, marked, glow), slices[key], volumes.spacing, config.zoom_mm),
        scale=(volumes.spacing[0], volumes.spacing[1]),
        reference="" if reference is None else outline_path(reference),
        prediction="" if marked is None else outline_path(marked),
        cam="" if glow is None else cam_picture(glow),
        cam_text="" if cam is None else f"Class activation, at most {_peak(cam[index])} here, {_peak(cam)} in the scan",
        chosen_by=chosen_by,
    )


def _peak(cam: np.ndarray) -> str:
    return f"{float(np.nanmax(cam)):.2f}"


def _grey(volumes: Volumes, index: int, config: ReportConfig) -> dict[str, Any]:
    rows, columns = volumes.field
    pixels = volumes.nct[index, rows, columns]
    half = config.window_width / 2
    return {
        "uri": grey_picture(pixels, (config.window_center - half, config.window_center + half)),
        "width": round(pixels.shape[1] * volumes.spacing[0], 2),
        "height": round(pixels.shape[0] * volumes.spacing[1], 2),
    }


def _focus(
    reference: np.ndarray | None, marked: np.ndarray | None, glow: np.ndarray | None
) -> tuple[float, float] | None:
    for mask in (reference, marked):
        if mask is not None and mask.any():
            y, x = (float(np.mean(axis)) for axis in np.nonzero(largest_part(mask)))
            return y + 0.5, x + 0.5
    if glow is not None and np.nanmax(glow) > 0:
        y, x = np.unravel_index(int(np.nanargmax(glow)), glow.shape)
        return float(y) + 0.5, float(x) + 0.5
    return None


def _zoom(
    focus: tuple[float, float] | None, grey: dict[str, Any], spacing: tuple[float, float, float], side: float
) -> Box:
    """Square of `side` mm round the focus, kept inside the picture."""
    side = min(side, grey["width"], grey["height"])
    center = (grey["height"] / 2, grey["width"] / 2)
    if focus is not None:
        center = (focus[0] * spacing[1], focus[1] * spacing[0])
    x, y = center[1] - side / 2, center[0] - side / 2
    return round(_within(x, grey["width"] - side), 2), round(_within(y, grey["height"] - side), 2), side, side


def _within(value: float, highest: float) -> float:
    return min(max(value, 0.0), max(highest, 0.0))
