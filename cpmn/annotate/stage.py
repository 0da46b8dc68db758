"""Stage `annotate`: the files of one patient, and the tables of all."""

import logging
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from cpmn.anatomy.lungbox import find_box
from cpmn.annotate.picture import write_picture
from cpmn.annotate.reading import doubt_of, mean_probability, sure_pieces
from cpmn.annotate.segments import write_segmentation
from cpmn.cohort.sheet import Patient
from cpmn.config.annotate import AnnotateConfig
from cpmn.config.convert import ConvertConfig
from cpmn.config.crop import CropConfig
from cpmn.errors import named
from cpmn.files import read_json, sha256_of_files, write_json, write_table
from cpmn.model.inference import TrainedModel, load_model
from cpmn.model.plan import WEIGHTS_FILE
from cpmn.scoring.metrics import SHARE, auc, mean, ratio
from cpmn.scoring.overlap import dice
from cpmn.volume.box import crop_image, paste
from cpmn.volume.images import image_like, read_image, voxel_ml, write_image

logger = logging.getLogger(__name__)

RECORD = "annotate.json"
MEASURED = ("patient_id", "label", "score", "dice", "clots", "clots_found", "outlined_ml", "false_ml")
WORKLIST = ("patient_id", "doubtful_ml", "reason", "outlined_ml", "pieces", "embolus", "picture")


def annotate_patient(
    patient: Patient,
    ctpa: Path,
    networks: Sequence[Path],
    folder: Path,
    config: AnnotateConfig,
    crop: CropConfig,
    convert: ConvertConfig,
    device: str = "auto",
) -> None:
    """Read one CTPA and write `folder`/{embolus,probability}.nii.gz on its grid, picture.png and annotate.json.

    Where the patient's CTPA is DICOM there is an embolus.dcm too, as `write_segmentation` makes it.

    ctpa : converted, in HU, beside its ctpa.json; networks : model folders, none of which was trained on this patient.

    Raises PatientError if there are no lungs.
    """
    image = read_image(ctpa)
    with named(patient.patient_id, ctpa):
        box, _, _ = find_box(image, crop)
    cropped = crop_image(image, box)
    models = [load_model(path, device) for path in networks]
    probability = mean_probability(models, cropped, config.overlap)
    outline = sure_pieces(probability, image.GetSpacing(), config)
    doubt = doubt_of(probability, outline, voxel_ml(image))
    pieces = paste(image_like(outline, cropped), image)
    write_image(pieces, folder / "embolus.nii.gz")
    assert patient.ctpa is not None
    drawn_by = sha256_of_files(path / WEIGHTS_FILE for path in networks)
    series = read_json(ctpa.with_name("ctpa.json"))["series"]
    write_segmentation(folder / "embolus.dcm", pieces, patient.ctpa, series, convert, drawn_by)
    write_image(paste(image_like(probability, cropped), image), folder / "probability.nii.gz")
    write_picture(folder / "picture.png", cropped, outline, probability)
    record = {
        "patient": patient.patient_id,
        "source": "annotate",
        "networks": [path.name for path in networks],
        "outlined_ml": float(np.count_nonzero(outline) * voxel_ml(image)),
        "pieces": int(outline.max()),
        "doubtful_ml": None if math.isinf(doubt.ml) else doubt.ml,
        "reason": doubt.reason,
    }
    write_json(folder / RECORD, record)
    logger.info(
        "%s: %d pieces, %.2f mL outlined; %s", patient.patient_id, record["pieces"], record["outlined_ml"], doubt.reason
    )


def measure_patient(
    patient: str, label: int, crops: Path, networks: Sequence[TrainedModel], config: AnnotateConfig
) -> dict[str, Any]:
    """What `networks` that never saw a teacher make of its crop: Dice, clots found, false mL, highest probability.

    `crops` is the patient's folder of `crop_ctpa`. Dice is None without PE. A clot counts as found if a piece touches
    it; a piece that touches none is false.
    """
    image, truth = (read_image(crops / f"{name}.nii.gz") for name in ("ctpa", "embolus"))
    clots = sitk.GetArrayFromImage(truth)
    probability = mean_probability(networks, image, config.overlap)
    outline = sure_pieces(probability, image.GetSpacing(), config)
    touched = np.unique(outline[clots > 0])
    false = (outline > 0) & ~np.isin(outline, touched[touched > 0])
    return {
        "patient_id": patient,
        "label": label,
        "score": float(probability.max()),
        "dice": dice(outline > 0, clots > 0) if label and clots.any() else None,
        "clots": len(np.unique(clots[clots > 0])),
        "clots_found": len(np.unique(clots[(clots > 0) & (outline > 0)])),
        "outlined_ml": float(np.count_nonzero(outline) * voxel_ml(image)),
        "false_ml": float(false.sum() * voxel_ml(image)),
    }


def summarise(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Figures of `measure_patient`'s rows with their 95 % intervals over patients (`cpmn.scoring.metrics`).

    `dice` is the mean over PE patients with clots in the crop, nothing outlined counts 0; `clots_found` the share of
    all clots; `false_ml` of a normal; `auc` of the highest probability. The value of what nobody gives is None.
    """
    pe, normal = ([row for row in rows if row["label"] == label] for label in (1, 0))
    return {
        "n_pe": len(pe),
        "n_normal": len(normal),
        "dice": mean([row["dice"] for row in pe if row["dice"] is not None], bounds=SHARE),
        "clots_found": ratio([row["clots_found"] for row in pe], [row["clots"] for row in pe]),
        "false_ml": mean([row["false_ml"] for row in normal], bounds=(0.0, math.inf)),
        "auc": auc([row["label"] for row in rows], [row["score"] for row in rows]),
    }


def write_worklist(folders: Iterable[Path], path: Path) -> None:
    """Write a table of the read CTPAs, the most doubtful first: where an hour of a radiologist's time goes."""
    records = [(folder, read_json(folder / RECORD)) for folder in folders if (folder / RECORD).stat().st_size]
    records.sort(key=lambda one: math.inf if one[1]["doubtful_ml"] is None else one[1]["doubtful_ml"], reverse=True)
    rows = [
        {"patient_id": record["patient"]}
        | {name: record[name] for name in ("doubtful_ml", "reason", "outlined_ml", "pieces")}
        | {"embolus": f"{record['patient']}/embolus.nii.gz", "picture": f"{record['patient']}/picture.png"}
        for _, record in records
    ]
    write_table(path, WORKLIST, rows)
