"""What becomes of a patient that one stage cannot process.

`on_bad_patient: stop` lets the patient's job fail with the reason. `exclude` turns the failure into a
`status.json` with `passed: false`, leaves empty files in the place of the stage's outputs (Snakemake needs them to
exist), and later stages skip the patient.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

from cpmn.checks.finding import Finding
from cpmn.errors import CpmnError, PatientError, blame_machine
from cpmn.files import read_json, remove_unfinished, write_json

logger = logging.getLogger(__name__)

OnBadPatient = Literal["stop", "exclude"]
PATIENT_STAGES = ("convert", "register", "propagate", "crop")
CTPA_ALONE_STAGES = ("convert", "annotate/crop")


class Status(TypedDict):
    """Contents of `status.json`: `stage` and `reason` are those of the failure, or of this stage when passed.

    `checks` is what a stage found that writes no record of its own, `source` who says where a patient's clots are.
    """

    patient: str
    passed: bool
    stage: str
    reason: str
    checks: NotRequired[list[dict[str, str]]]
    source: NotRequired[str]


def run_patient_stage(
    work: Callable[[], Sequence[Finding] | None],
    *,
    stage: str,
    patient: str,
    outputs: Sequence[Path | str],
    status_path: Path | str,
    upstream: Sequence[Path | str] = (),
    on_bad_patient: OnBadPatient = "stop",
    source: Callable[[], str] | None = None,
) -> Status:
    """Run one stage for one patient and write its `status.json`.

    Parameters
    ----------
    work : does the stage's work and writes `outputs`; raises CpmnError for a patient it cannot process.
        Findings that it returns are kept in the status.
    outputs : files that `work` writes; made empty when the patient is excluded.
    upstream : `status.json` files of the stages before; if one did not pass, `work` is not called.
    source : asked after the work who says where the clots are, which is kept in the status.

    Raises MachineError for trouble of the machine, which excludes nobody: the job fails and runs again when repeated.
    """
    remove_unfinished(Path(status_path).parent)
    failed = next((status for status in map(read_status, upstream) if not status["passed"]), None)
    if failed is not None:
        return _exclude(failed, outputs, status_path)
    try:
        findings = work()
    except CpmnError as error:
        blame_machine(error)
        if on_bad_patient == "stop":
            raise error if isinstance(error, PatientError) else CpmnError(f"patient {patient}: {error}") from error
        logger.error("excluded: %s", error)
        return _exclude(Status(patient=patient, passed=False, stage=stage, reason=str(error)), outputs, status_path)
    status = Status(patient=patient, passed=True, stage=stage, reason="")
    if findings is not None:
        status["checks"] = [finding.to_json() for finding in findings]
    if source is not None:
        status["source"] = source()
    write_json(status_path, status)
    return status


def read_status(path: Path | str) -> Status:
    """Read one `status.json`. Raises CpmnError where it is damaged."""
    try:
        return read_json(path)
    except ValueError as error:
        raise CpmnError(f"{path} is not valid JSON: {error}. Delete it and run the same command again.") from error


def _exclude(status: Status, outputs: Sequence[Path | str], status_path: Path | str) -> Status:
    for output in map(Path, outputs):
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(b"")
    write_json(status_path, status)
    return status


def left_out(patients: Iterable[str], results: Path) -> dict[str, str]:
    """What runs under `exclude` left out of a results folder: reason and day by the file whose job would try again.

    That is a patient, a vessel mask, or a pair whose registration failed quality control.
    """
    found: dict[str, str] = {}
    for patient in patients:
        paths = {results / stage / patient / "status.json": stage for stage in PATIENT_STAGES}
        paths |= {results / folder / patient / "status.json": "annotate" for folder in ("annotate", "annotate/crop")}
        failures = {path: one for path, one in _failures(paths).items() if one["stage"] == paths[path]}
        mask = {} if failures else _failures([results / "crop" / patient / "vessels.json"])
        found |= {str(path): status["reason"] for path, status in (failures | mask).items()}
        if reason := None if failures else unregistered([patient], results).get(patient):
            found[str(results / "register" / patient / "status.json")] = f"patient {patient}: {reason}"
    return {path: f"{reason} (since {_day(Path(path))})" for path, reason in found.items()}


def _day(path: Path) -> str:
    """When a file was written."""
    return f"{datetime.fromtimestamp(path.stat().st_mtime):%Y-%m-%d}"


def _failures(paths: Iterable[Path]) -> dict[Path, Status]:
    statuses = {path: read_status(path) for path in paths if path.is_file()}
    return {path: status for path, status in statuses.items() if not status["passed"]}


def excluded_patients(patients: Iterable[str], results: Path) -> dict[str, str]:
    """Reason by patient, for those that the later stages leave out."""
    return {patient: status["reason"] for patient, status in exclusions(patients, results).items()}


def excluded_ctpas(patients: Iterable[str], crops: Path) -> dict[str, str]:
    """The same for patients with a CTPA alone, whose last stage is the crop of `annotate` in the folder `crops`."""
    statuses = {patient: read_status(crops / patient / "status.json") for patient in patients}
    return {patient: status["reason"] for patient, status in statuses.items() if not status["passed"]}


def exclusions(patients: Iterable[str], results: Path, stages: Sequence[str] = PATIENT_STAGES) -> dict[str, Status]:
    """The failure by patient, for those that the later stages leave out.

    Every stage passes on the failure of the one before, so the last `status.json` that there is decides. Patients with
    a CTPA alone have other `stages`.
    """
    last = {patient: _last_status(patient, results, stages) for patient in patients}
    return {patient: status for patient, status in last.items() if status and not status["passed"]}


def _last_status(patient: str, results: Path, stages: Sequence[str]) -> Status | None:
    paths = [results / stage / patient / "status.json" for stage in reversed(stages)]
    return next((read_status(path) for path in paths if path.is_file()), None)


def failed_registrations(quality_paths: Mapping[str, Path | str]) -> dict[str, str]:
    """Reason by patient, for those whose registration did not pass its quality control."""
    qualities = {patient: read_json(path) for patient, path in quality_paths.items() if Path(path).stat().st_size}
    return {patient: f"registration: {q['reason']}" for patient, q in qualities.items() if not q["passed"]}


def unregistered(patients: Iterable[str], results: Path) -> dict[str, str]:
    """The same of a results folder, of those of these patients whom `register` has seen."""
    qualities = {patient: results / "register" / patient / "quality.json" for patient in patients}
    return failed_registrations({patient: path for patient, path in qualities.items() if path.is_file()})


def require_patients(patients: Collection[str], excluded: Mapping[str, str], minimum: int) -> None:
    """Raise CpmnError if fewer than `minimum` of `patients` are left; `excluded` may name others too."""
    reasons = [excluded[patient] for patient in patients if patient in excluded]
    if (left := len(patients) - len(reasons)) < minimum:
        advice = "".join(["Put these right, or lower min_patients:", *(f"\n  {reason}" for reason in reasons)])
        raise CpmnError(
            f"{left} of {len(patients)} patients are left to train and validate on, min_patients is {minimum}. "
            f"{advice if reasons else 'Add patients, or lower min_patients.'}"
        )
