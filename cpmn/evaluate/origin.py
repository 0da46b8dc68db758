"""What a model was trained on, from what the stages before left of its patients."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from cpmn.cohort.roles import without_clot
from cpmn.cohort.sheet import Patient
from cpmn.config.train import TrainConfig
from cpmn.dicom.scanners import made_up, makers_known
from cpmn.files import read_json
from cpmn.job.status import excluded_ctpas, unregistered
from cpmn.model.modelfiles import RunFiles, fold_files
from cpmn.scoring.decision import TrainedOn


def training_facts(
    results: Path,
    variant: str,
    splits: Mapping[str, Any],
    patients: Sequence[Patient],
    excluded: Mapping[str, str],
    cohort: Mapping[str, str],
) -> TrainedOn:
    """The patients that any fold was trained on, of those whom the variant reads, and the cohort's name and hash
    (`cohort`, `data_hash`)."""
    files = [[RunFiles(results, variant).path(name) for name in fold_files(k)] for k in range(len(splits["folds"]))]
    plan = read_json(files[0][0])
    names = {name for fold in splits["folds"] for name in fold["train"]} - excluded.keys()
    ctpa_alone = {patient.patient_id for patient in patients if not patient.nct} & names
    settings = TrainConfig.model_validate(plan.get("config", {}))
    read = settings.trains_ctpa_pathway  # pretraining alone reads pairs'
    names -= excluded_ctpas(ctpa_alone, results / "annotate" / "crop").keys() if read else ctpa_alone
    pairs = {patient.patient_id for patient in patients if patient.nct and patient.ctpa}
    names -= unregistered(names & pairs, results).keys()  # others may have left older files
    names -= without_clot([patient for patient in patients if patient.patient_id in names], _crops(results, names))
    labels = [patient.label for patient in patients if patient.patient_id in names]
    written = max(weights.stat().st_mtime for _, weights in files)
    return TrainedOn(
        kind=_kind(results, sorted(names)),
        cohort=cohort.get("cohort", ""),
        cohort_sha256=cohort.get("data_hash", ""),
        n_pe=sum(labels),
        n_normal=len(labels) - sum(labels),
        date=datetime.fromtimestamp(written, UTC).date().isoformat(),
        version=plan.get("versions", {}).get("cpmn", ""),
    )


def _crops(results: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """What `crop` found in each patient that has an NCT."""
    paths = {name: results / "crop" / name / "crop.json" for name in names}
    return {name: read_json(path) for name, path in paths.items() if path.is_file() and path.stat().st_size}


def _kind(results: Path, names: Sequence[str]) -> Literal["phantom", "simulated", "patients"] | None:
    """By the headers of the NCT, or of a CTPA alone.

    One made-up scan makes the cohort so, and one that does not tell makes it unknown.
    """
    folders = [results / "convert" / name for name in names]
    records = [path if (path := folder / "nct.json").is_file() else folder / "ctpa.json" for folder in folders]
    scanners = [dict(read_json(path)).get("scanner") if path.is_file() else None for path in records]
    if found := made_up(scanners):
        return "simulated" if found == "disease" else "phantom"
    return "patients" if scanners and makers_known(scanners) else None
