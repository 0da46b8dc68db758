"""What a network that reads NCT outlines by itself: the control of `annotate`, which has the CTPA's image beside it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from tqdm import tqdm

from cpmn.annotate.reading import sure_pieces
from cpmn.cohort.kinds import is_reported
from cpmn.cohort.sheet import load_cohort
from cpmn.config.root import Config
from cpmn.config.train import Phase
from cpmn.errors import CpmnError
from cpmn.files import read_json, write_json
from cpmn.job.status import exclusions
from cpmn.model.ensemble import load_folds, read_crop
from cpmn.volume.box import paste
from cpmn.volume.images import image_like, read_image, write_image
from study.cohort import MASKS


def outline_by_itself(results: Path, variant: str, folder: Path, config: Config) -> dict[str, int]:
    """Outline the pairs that nobody outlined as `variant` of a finished training reads their NCT, as `write_outlines`.

    What is kept of a probability is decided as `annotate` does.
    """
    models = load_folds(results / "train" / variant, 1, config.evaluate.device)

    def draw(patient: str) -> tuple[np.ndarray, sitk.Image]:
        where = results / "crop" / patient
        crop, lungs = (read_image(where / f"{image}.nii.gz") for image in ("nct", "lung"))
        probability = read_crop(models, crop, config.evaluate, lungs).probability
        return sure_pieces(probability, crop.GetSpacing(), config.annotate), crop

    return write_outlines(results, folder, variant, "nct", draw)


def write_outlines(
    results: Path, folder: Path, by: str, phase: Phase, draw: Callable[[str], tuple[np.ndarray, sitk.Image]]
) -> dict[str, int]:
    """Outline the pairs that nobody outlined, but for those excluded; pieces by patient.

    Writes `folder`/PATIENT.nii.gz, piece ids on the native scan of the `phase`, and who outlined (`by`).

    draw : of a patient the piece ids (z, y, x) on a crop, and that crop.

    Raises CpmnError if the folder holds outlines already.
    """
    if (folder / MASKS).exists():
        raise CpmnError(f"{folder} holds outlines already. Name another folder.")
    reported = [p.patient_id for p in load_cohort(results.parent / "cohort.csv") if p.ctpa and is_reported(p)]
    excluded, found = exclusions(reported, results), {}
    for patient in tqdm([one for one in reported if one not in excluded], disable=None):
        outline, crop = draw(patient)
        found[patient] = int(outline.max())
        native = read_image(results / "convert" / patient / f"{phase}.nii.gz")
        write_image(paste(image_like(outline, crop), native), folder / f"{patient}.nii.gz")
    write_json(folder / MASKS, read_json(results.parent / MASKS) | {"by": by})  # last: the folder is whole
    return found
