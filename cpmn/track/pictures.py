"""Pictures for quality control: the registrations to look at, and predictions over test patients' scans."""

import io
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from cpmn.files import read_json, read_test_rows, sha256_of_files
from cpmn.volume.images import read_image

REGISTRATIONS, OVERLAYS = 8, 4  # our choice: what a person looks through; `results/register` holds all of them
REFERENCE = "#35d07f"
DPI = 80


def worst_registrations(results: Path, patients: Collection[str]) -> dict[str, Path]:
    """Pictures of the registrations that failed quality control or have the lowest lung Dice, by patient.

    Of `patients` alone: whoever left the cohort may have left files.
    """
    paths = {name: results / "register" / name / "quality.json" for name in patients}
    found = {name: read_json(path) for name, path in paths.items() if _full(path)}
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
    # Half a second to load, which most jobs that send something do not need.
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    from cpmn.volume.overlay import MARK, show_slice, telling_slice

    folder, file = results / "evaluate" / variant, f"{patient}.nii.gz"
    scan = sitk.DICOMOrient(read_image(results / "convert" / patient / "nct.nii.gz"), "LPS")
    hu, spacing = sitk.GetArrayViewFromImage(scan), scan.GetSpacing()[:2]
    prediction, reference = (_mask(folder / kind / file) for kind in ("predictions", "reference"))
    index, _ = telling_slice(len(hu), reference=reference, prediction=prediction)
    marked = {MARK: prediction, REFERENCE: reference}
    figure = Figure(figsize=(5, 5), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    show_slice(axes, hu[index], spacing, {colour: mask[index] for colour, mask in marked.items() if mask is not None})
    axes.set(title=f"{patient}, slice {index + 1} of {len(hu)}")
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


def _mask(path: Path) -> np.ndarray | None:
    from cpmn.volume.overlay import read_upright

    image = read_upright(path)
    return None if image is None else sitk.GetArrayViewFromImage(image) != 0


def _full(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0
