"""What a network that reads NCT outlines by itself: the control of `annotate`, which has the CTPA's image beside it."""

from pathlib import Path

from tqdm import tqdm

from cpmn.annotate.reading import sure_pieces
from cpmn.cohort.kinds import is_reported
from cpmn.cohort.sheet import load_cohort
from cpmn.config.root import Config
from cpmn.errors import CpmnError
from cpmn.files import read_json, write_json
from cpmn.job.status import exclusions
from cpmn.model.ensemble import load_folds, read_crop
from cpmn.volume.box import paste
from cpmn.volume.images import image_like, read_image, write_image
from study.cohort import MASKS


def outline_by_itself(results: Path, variant: str, folder: Path, config: Config) -> dict[str, int]:
    """Outline the pairs that nobody outlined as `variant` of a finished training reads their NCT; pieces by patient.

    Writes `folder`/PATIENT.nii.gz, piece ids on the native NCT, of those with a piece that is sure enough. What is kept
    of a probability is decided as `annotate` does. Patients that were excluded are left out.

    Raises CpmnError if the folder holds outlines already.
    """
    if (folder / MASKS).exists():
        raise CpmnError(f"{folder} holds outlines already. Name another folder.")
    models = load_folds(results / "train" / variant, 1, config.evaluate.device)
    found = {}
    reported = [p for p in load_cohort(results.parent / "cohort.csv") if p.ctpa and is_reported(p)]
    excluded = exclusions([p.patient_id for p in reported], results)
    for patient in tqdm([p for p in reported if p.patient_id not in excluded]):
        where = results / "crop" / patient.patient_id
        crop, lungs = (read_image(where / f"{image}.nii.gz") for image in ("nct", "lung"))
        probability = read_crop(models, crop, config.evaluate, lungs).probability
        outline = sure_pieces(probability, crop.GetSpacing(), config.annotate)
        found[patient.patient_id] = int(outline.max())
        if outline.any():
            native = read_image(results / "convert" / patient.patient_id / "nct.nii.gz")
            write_image(paste(image_like(outline, crop), native), folder / f"{patient.patient_id}.nii.gz")
    write_json(folder / MASKS, read_json(results.parent / MASKS) | {"by": variant})  # last: the folder is whole
    return found
