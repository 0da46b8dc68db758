"""Pictures for quality control: the registrations to look at, and predictions over test patients' scans."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from cpmn.files import read_json, read_test_rows, sha256_of_files
from cpmn.volume.images import read_image

REGISTRATIONS, OVERLAYS = 8, 4  # our choice: what a person looks through; `results/register` holds all of them
WINDOW_HU = (-135.0, 215.0)  # mediastinal window, centre 40 and width 350 HU
PREDICTED, REFERENCE = "#ff4d4d", "#35d07f"
DPI = 80


def worst_registrations(results: Path) -> dict[str, Path]:
    """Pictures of the registrations that failed quality control or have the lowest lung Dice, by patient."""
    found = {path.parent.name: read_json(path) for path in results.glob("register/*/quality.json") if _full(path)}
    worst = sorted(found, key=lambda name: (bool(found[name].get("passed")), found[name].get("lung_dice") or 0.0, name))
    pictures = {name: results / "register" / name / "quality.png" for name in worst}
    return {name: path for name, path in list(pictures.items())[:REGISTRATIONS] if _full(path)}


def send_overlays(client: Any, run_id: str, results: Path, variant: str) -> None:
    """Attach one picture per test patient, PE first, as `overlay-{patient}.png`.

    Pictures are sent again only when a prediction changed; a tag of the run holds the hash of what was drawn.
    """
    names = _test_patients(results / "evaluate" / variant / "patients.csv")
    folder = results / "evaluate" / variant / "predictions"
    names = [name for name in names if _full(folder / f"{name}.nii.gz")][:OVERLAYS]
    content = sha256_of_files(folder / f"{name}.nii.gz" for name in names)
    if names and client.get_run(run_id).data.tags.get("mlflow.cpmn.sent.overlay") != content:
        for name in names:
            client.log_image(run_id, overlay(results, variant, name), f"overlay-{name}.png")
        client.set_tag(run_id, "mlflow.cpmn.sent.overlay", content)


def overlay(results: Path, variant: str, patient: str) -> np.ndarray:
    """Picture (rows, columns, RGB) of the axial slice with most of the reference, else most of the prediction.

    The reference is outlined in green and the prediction in red; the patient's right is on the left.
    """
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    folder, file = results / "evaluate" / variant, f"{patient}.nii.gz"
    scan = _upright(results / "convert" / patient / "nct.nii.gz")
    masks = {PREDICTED: _mask(folder / "predictions" / file), REFERENCE: _mask(folder / "reference" / file)}
    hu, index = sitk.GetArrayFromImage(scan), _slice(masks)
    index = hu.shape[0] // 2 if index is None else index
    x, y, _ = scan.GetSpacing()
    figure = Figure(figsize=(5, 5), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.imshow(hu[index], cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], aspect=y / x)
    for colour, mask in masks.items():
        if mask is not None and mask[index].any():
            axes.contour(mask[index].astype(float), [0.5], colors=[colour], linewidths=1.2)
    axes.set(xticks=[], yticks=[], title=f"{patient}, slice {index + 1} of {hu.shape[0]}")
    axes.set_xlabel(f"{variant}: prediction red, reference green", fontsize=8)
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    stream.seek(0)
    return (imread(stream)[..., :3] * 255).astype(np.uint8)


def _test_patients(table: Path) -> list[str]:
    """Test patients of a variant's table, those with PE first."""
    if not table.is_file():
        return []
    return read_test_rows(table).sort_index().sort_values("label", ascending=False, kind="stable").index.tolist()


def _slice(masks: Mapping[str, np.ndarray | None]) -> int | None:
    for colour in (REFERENCE, PREDICTED):
        mask = masks[colour]
        if mask is not None and mask.any():
            return int(mask.sum(axis=(1, 2)).argmax())
    return None


def _mask(path: Path) -> np.ndarray | None:
    return sitk.GetArrayFromImage(_upright(path)) != 0 if _full(path) else None


def _upright(path: Path) -> sitk.Image:
    return sitk.DICOMOrient(read_image(path), "LPS")


def _full(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0
