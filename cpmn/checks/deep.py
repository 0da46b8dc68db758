"""Every check of a whole cohort before any run: `cpmn check --deep`."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import SimpleITK as sitk

from cpmn.checks.cohort import check_cohort
from cpmn.checks.finding import Finding, overrule
from cpmn.checks.mask import check_mask, check_truth
from cpmn.checks.pair import SAME_SCAN, check_pair
from cpmn.checks.scan import OTHER, check_headers, check_scan
from cpmn.cohort.masks import read_ids, read_mask
from cpmn.cohort.sheet import Patient, missing_files
from cpmn.config.convert import ConvertConfig
from cpmn.dicom.problem import SeriesProblem
from cpmn.dicom.scan import read_headers, read_scan
from cpmn.errors import PatientError
from cpmn.files import sha256_of_array, write_table, write_text

COLUMNS = ("patient_id", "of", "check", "outcome", "seen", "remedy")
WORST_FIRST = ("refused", "overruled", "warned", "passed")
MASKS = {"nct": ("nct_mask", "nct_truth"), "ctpa": ("ctpa_mask",)}
"""Columns of masks by the phase that they were drawn on."""
TEMPLATES = Path(__file__).parent / "templates"


class Row(NamedTuple):
    """One line of the table: what a check said of a patient's scan, pair or mask, or of the cohort.

    `of` is nct, ctpa, pair, the column of a mask, files or cohort.
    """

    patient_id: str
    of: str
    check: str
    outcome: str
    seen: str = ""
    remedy: str = ""


class Examined(NamedTuple):
    """What was found of one patient, and what the cohort's checks compare."""

    patient: Patient
    rows: list[Row]
    records: dict[str, dict[str, Any]]


def check_deeply(
    patients: Sequence[Patient],
    config: ConvertConfig,
    *,
    jobs: int = 1,
    headers_only: bool = False,
    done: Callable[[str], object] = lambda patient: None,
) -> list[Row]:
    """All findings of a cohort, the worst first.

    Parameters
    ----------
    jobs : processes.
    headers_only : read no pixels: minutes instead of hours, and nothing is said of the images.
    done : called with the id of each patient that was examined.
    """
    found = []
    for one in _examined(patients, config, jobs, headers_only):
        found.append(one)
        done(one.patient.patient_id)
    records = {one.patient.patient_id: one.records for one in found}
    rows = [row for one in found for row in one.rows]
    of_cohort = [one for one in check_cohort(patients, records) if not headers_only or one.check != "shared_scan"]
    rows += _rows("", "cohort", of_cohort, ())
    order = {patient.patient_id: number for number, patient in enumerate(patients)}
    return sorted(rows, key=lambda row: (WORST_FIRST.index(row.outcome), order.get(row.patient_id, -1)))


def write_findings(rows: Iterable[Row], folder: Path) -> None:
    """Write `check.csv`, all rows, and `check.html`, what did not pass and how much did, into `folder`."""
    from cpmn.pages import templates  # not needed to ask

    rows = list(rows)
    write_table(folder / "check.csv", COLUMNS, [row._asdict() for row in rows])
    counts = {outcome: sum(row.outcome == outcome for row in rows) for outcome in WORST_FIRST}
    page = templates(TEMPLATES, escape=True).get_template("deep.html.j2")
    shown = [row for row in rows if row.outcome != "passed"]
    write_text(folder / "check.html", page.render(rows=shown, counts=counts, columns=COLUMNS))


def examine(patient: Patient, config: ConvertConfig, headers_only: bool) -> Examined:
    """All checks of one patient; what stops one scan is a row, and the others are still asked."""
    gaps = missing_files(patient)
    rows = [Row(patient.patient_id, "files", "present", "refused", gap, "Correct the sheet.") for gap in gaps]
    facts: dict[str, dict[str, Any]] = {}
    scans: dict[str, sitk.Image] = {}
    for phase in MASKS:
        if (source := patient.scan(phase)) is None or not source.exists():
            continue
        try:
            findings, facts[phase], scan = _ask(patient, phase, source, config, headers_only)
        except (PatientError, SeriesProblem) as error:
            rows.append(_unreadable(patient, phase, error))
            continue
        rows += _rows(patient.patient_id, phase, findings, patient.overrule)
        if scan is not None:
            scans[phase] = scan
    for phase, scan in scans.items():
        rows += _of_masks(patient, phase, scan, scans.get(OTHER[phase]))
    if len(facts) == 2:
        of_pair, _ = check_pair(facts["nct"]["identity"], facts["ctpa"]["identity"], config.maximum_interval_hours)
        rows += _rows(patient.patient_id, "pair", of_pair, patient.overrule)
        if facts["nct"]["pixels_sha256"] == facts["ctpa"]["pixels_sha256"] or _one_series(patient, facts):
            rows.append(Row(patient.patient_id, "pair", "shared_scan", "refused", *SAME_SCAN))
    records = {
        phase: {"pixels_sha256": one["pixels_sha256"], "identity": one["identity"].to_json()}
        for phase, one in facts.items()
    }
    return Examined(patient, rows, records)


def _one_series(patient: Patient, facts: Mapping[str, dict[str, Any]]) -> bool:
    """Whether both phases are the same series of the same files."""
    series = {facts[phase]["series"] for phase in MASKS}
    return len({patient.scan(phase) for phase in MASKS}) == 1 and len(series) == 1 and None not in series


def _ask(
    patient: Patient, phase: str, source: Path, config: ConvertConfig, headers_only: bool
) -> tuple[list[Finding], dict[str, Any], sitk.Image | None]:
    """Findings and facts of a scan, and its image where it was read."""
    named = patient.series_uid(phase)
    if headers_only:
        facts = read_headers(source, phase=phase, series_uid=named, config=config)
        not_compared = {"pixels_sha256": f"{patient.patient_id} {phase}"}
        return check_headers(facts, phase), facts | not_compared, None
    image, facts = read_scan(source, patient=patient.patient_id, phase=phase, series_uid=named, config=config)
    hashed = sha256_of_array(sitk.GetArrayViewFromImage(image))
    return check_scan(image, facts, phase), facts | {"pixels_sha256": hashed}, image


def _of_masks(patient: Patient, phase: str, scan: sitk.Image, other: sitk.Image | None) -> Iterator[Row]:
    """What is wrong with the masks that were drawn on a scan, by their columns; absent files are rows already."""
    for column in MASKS[phase]:
        if (path := getattr(patient, column)) is None or not path.is_file():
            continue
        try:
            findings = _ask_mask(patient, column, path, phase, scan, other)
        except PatientError as error:
            yield _unreadable(patient, column, error)
        else:
            yield from _rows(patient.patient_id, column, findings, patient.overrule)


def _ask_mask(
    patient: Patient, column: str, path: Path, phase: str, scan: sitk.Image, other: sitk.Image | None
) -> list[Finding]:
    if column == "nct_truth":
        mask = read_ids(patient, path, scan, phase.upper(), name=column, other=other)
        return check_truth(mask, scan, patient.label, other)
    mask = read_mask(patient, path, scan, phase.upper(), other=other)
    return check_mask(mask, scan, phase, other_scan=other)


def _unreadable(patient: Patient, of: str, error: PatientError | SeriesProblem) -> Row:
    return Row(patient.patient_id, of, "readable", "refused", error.problem, error.remedy)


def _rows(patient_id: str, of: str, findings: Iterable[Finding], overruled: Sequence[str]) -> list[Row]:
    return [Row(patient_id, of, one.check, one.outcome, one.seen, one.remedy) for one in overrule(findings, overruled)]


def _examined(patients: Sequence[Patient], config: ConvertConfig, jobs: int, headers_only: bool) -> Iterator[Examined]:
    if jobs == 1 or len(patients) < 2:
        yield from (examine(patient, config, headers_only) for patient in patients)
        return
    os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")  # read when a new process loads ITK
    with ProcessPoolExecutor(min(jobs, len(patients)), mp_context=get_context("spawn"), initializer=_quiet) as pool:
        running = [pool.submit(examine, patient, config, headers_only) for patient in patients]
        for future in as_completed(running):
            yield future.result()


def _quiet() -> None:
    """Bars of single scans would write over the cohort's."""
    os.environ["TQDM_DISABLE"] = "1"
