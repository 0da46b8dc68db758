"""Pairs of CTPA and NCT proposed from a hospital's export, for a person to check: `cpmn pair`.

An export holds whatever the archive gave: nested folders, localizers, dose reports, several reconstructions and visits.
Series are grouped by patient and by visit. Of each visit the rules of `cpmn.dicom.choice` take one NCT and one CTPA.
What is written names nobody: patients by a slow hash of their number, series by their key. Labels are left empty.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

from cpmn.checks.finding import warnings_of
from cpmn.checks.pair import check_pair, hours_between, same
from cpmn.cohort.sheet import REQUIRED_COLUMNS
from cpmn.config.convert import ConvertConfig
from cpmn.dicom.archive import leads_nowhere, paths_below
from cpmn.dicom.choice import ask_image, rank, why_behind
from cpmn.dicom.continuation import join_continued
from cpmn.dicom.headers import Header, read_file_set
from cpmn.dicom.identity import patient_key, uid_key
from cpmn.dicom.problem import SeriesProblem
from cpmn.dicom.series import Series, group_series
from cpmn.dicom.virtual import virtual_kind
from cpmn.errors import CpmnError

SHEET_COLUMNS = (*REQUIRED_COLUMNS, "group", "ctpa_series", "nct_series")
SERIES_COLUMNS = ("patient_id", "visit", "taken_as", "interval_hours", "series", "files", "why")
ID_DIGITS = 8  # of the hash that names a patient: two of 10,000 patients share one in 1 % of exports
PHASES = ("nct", "ctpa")


@dataclass
class Proposal:
    """Rows of a cohort sheet, and of a table with what became of every series and file; `warnings` by patient id."""

    sheet: list[dict[str, Any]] = field(default_factory=list)
    series: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def propose_pairs(
    export: Path,
    config: ConvertConfig,
    *,
    look: bool = True,
    done: Callable[[str], object] = lambda _name: None,
) -> Proposal:
    """Propose a pair for each visit of each patient below the folder `export`.

    Without `look` no pixels are read: contrast is told by the tags alone, which are often wrong. `done` is called with
    the id of each patient that was looked at. Paths in the sheet are absolute.

    Raises CpmnError if `export` is no folder, or if no file in it is DICOM.
    """
    if not export.is_dir():
        raise CpmnError(f"{export} is no folder. Give the folder that the export was unpacked into.")
    paths = [path for path in paths_below(export) if path.is_file() or leads_nowhere(path)]
    _require_writable_names(paths)
    proposal = Proposal()
    headers = list(_headers(paths, proposal))
    if not headers:
        raise CpmnError(f"no file below {export} is a readable DICOM image. Unpack archives first; is it the export?")
    for name, own in sorted(_by_patient(headers).items()):
        _add_patient(proposal, name, own, config, look)
        done(name)
    return proposal


def _require_writable_names(paths: Iterable[Path]) -> None:
    """Raise CpmnError for a path that no table in UTF-8 can name: before the hours that reading takes."""
    for path in paths:
        try:
            str(path.absolute()).encode()
        except UnicodeEncodeError as error:
            place = str(path).encode(errors="replace").decode()
            raise CpmnError(f"{place}: the name is not UTF-8, where the ? stand. Rename the folder or file.") from error


def _headers(paths: Iterable[Path], proposal: Proposal) -> Iterator[Header]:
    """Headers of all files, one by one: a damaged file costs no other. What cannot be read is listed by the reason."""
    unread: dict[str, int] = defaultdict(int)
    for path in paths:
        try:
            yield from read_file_set(path).headers
        except SeriesProblem as problem:
            archive = path.suffix.lower() == ".zip"
            unread["a zip archive: unpack it" if archive else _plainly(problem.problem)] += 1
    proposal.series += [_row("", "", "left out", files=count, why=why) for why, count in sorted(unread.items())]


def _plainly(problem: str) -> str:
    return "no DICOM file" if problem.startswith("none of") else problem


def _by_patient(headers: Iterable[Header]) -> dict[str, list[Header]]:
    """Headers by patient id; slices without a patient's number belong to their study alone."""
    groups: dict[str, list[Header]] = defaultdict(list)
    for header in headers:
        known = patient_key(header.patient)
        name = f"p-{known[:ID_DIGITS]}" if known else f"s-{uid_key(header.text('StudyInstanceUID'))[:ID_DIGITS]}"
        groups[name].append(header)
    return groups


def _add_patient(proposal: Proposal, name: str, headers: list[Header], config: ConvertConfig, look: bool) -> None:
    series = join_continued(group_series(headers, config), config)
    usable = [item for item in series if not item.problems]
    for item in series:
        if item.problems:
            why = "; ".join(problem.problem for problem in item.problems)
            proposal.series.append(_series_row(name, "", "left out", item, why))
    for item in usable if look else ():
        ask_image(item)
    made = 0
    for number, visit in enumerate(_visits(usable, config.maximum_interval_hours), start=1):
        taken = _taken_together(visit, config)
        nct, ctpa = taken["nct"], taken["ctpa"]
        row = name if not made else f"{name}-{number}"
        if nct and ctpa:
            made += 1
            hours = _add_pair(proposal, row, name, nct, ctpa, headers, config)
        else:
            hours = None
            missing = "no NCT" if ctpa else "no CTPA" if nct else "neither NCT nor CTPA"
            far = ctpa and any(_may_be(item, "nct") for item in visit)
            why = f"within {config.maximum_interval_hours:g} hours of its CTPA" if far else "that can be used"
            proposal.warnings.append(f"{name}: visit {number} has {missing} {why}, and gives no pair")
        for item in visit:
            proposal.series.append(_of_visit(row, number, item, taken, hours, config))


def _visits(series: list[Series], maximum_hours: float) -> list[list[Series]]:
    """Series in the order of time, a new visit after each pause longer than a pair may have; undated ones by study."""
    dated = sorted((item for item in series if item.identity.acquired), key=lambda item: item.identity.acquired)  # type: ignore[arg-type, return-value]
    visits: list[list[Series]] = []
    for item in dated:
        last = visits[-1][-1].identity.acquired if visits else None
        if last is None or item.identity.acquired - last > timedelta(hours=maximum_hours):  # type: ignore[operator]
            visits.append([])
        visits[-1].append(item)
    for item in series:
        if not item.identity.acquired:
            own = [one for one in visits if any(other.identity.study == item.identity.study for other in one)]
            (own[0] if own else visits.append([]) or visits[-1]).append(item)  # type: ignore[func-returns-value]
    return visits


def _taken_together(visit: list[Series], config: ConvertConfig) -> dict[str, Series | None]:
    """The visit's best NCT and CTPA no further apart than a pair may be: of one study before of two, then by the rules
    of each phase, then the closest. Where no two go together, the best of each phase that there is alone."""
    found = {phase: [item for item in visit if _may_be(item, phase)] for phase in PHASES}

    def preference(pair: tuple[Any, ...]) -> tuple[Any, ...]:
        nct, ctpa = pair
        one_study = same(nct.identity.study, ctpa.identity.study) is True
        return (one_study, rank(nct, "nct", config), rank(ctpa, "ctpa", config), -_hours(*pair))

    close = [pair for pair in product(*found.values()) if _hours(*pair) <= config.maximum_interval_hours]
    if close:
        return dict(zip(PHASES, max(close, key=preference), strict=True))
    best = {p: max(found[p], key=lambda item: rank(item, p, config), default=None) for p in PHASES}
    return best | {"nct": None} if all(best.values()) else best


def _may_be(item: Series, phase: str) -> bool:
    """Whether a series may be of this phase. Without evidence of contrast medium nothing is a CTPA."""
    fits = {"nct": ("absent", "unknown"), "ctpa": ("present",)}[phase]
    return item.contrast.evidence in fits and item.contrast.lungs is not False and _measured(item, phase)


def _hours(nct: Series, ctpa: Series) -> float:
    """Time between two series; 0 where one has no date."""
    return abs(hours_between(nct.identity, ctpa.identity) or 0.0)


def _measured(item: Series, phase: str) -> bool:
    return phase == "ctpa" or not virtual_kind(item.first)


def _add_pair(
    proposal: Proposal,
    row: str,
    name: str,
    nct: Series,
    ctpa: Series,
    headers: Sequence[Header],
    config: ConvertConfig,
) -> float | None:
    """Add the row of a patient with `headers` to the sheet, and warnings of what the checks of a pair find; gives the
    interval in hours."""
    findings, facts = check_pair(nct.identity, ctpa.identity, config.maximum_interval_hours)
    proposal.warnings += [f"{row}: {seen}" for seen in warnings_of(findings)]
    if not facts["same_study"]:
        proposal.warnings.append(f"{row}: NCT and CTPA are of two studies; look whether they are of one person")
    if nct.contrast.evidence == "unknown":
        proposal.warnings.append(f"{row}: whether the NCT is without contrast medium is not known; look at it")
    proposal.sheet.append(
        {
            "patient_id": row,
            "ctpa": _folder(ctpa, headers),
            "nct": _folder(nct, headers),
            "ctpa_mask": "",
            "label": "",
            "group": name,
            "ctpa_series": ctpa.key,
            "nct_series": nct.key,
        }
    )
    return facts["interval_hours"]


def _folder(item: Series, headers: Sequence[Header]) -> str:
    """The innermost folder that holds all of a series, its other acquisitions too: without them its key is another."""
    parts = {header.text("SeriesInstanceUID") for header in item.slices}
    return os.path.commonpath(
        [str(one.path.parent.absolute()) for one in headers if one.text("SeriesInstanceUID") in parts]
    )


def _of_visit(
    row: str, number: int, item: Series, taken: dict[str, Series | None], hours: float | None, config: ConvertConfig
) -> dict[str, Any]:
    """What became of a usable series."""
    paired = all(taken.values())
    for phase, best in taken.items():
        if best is item:
            how = f"best {phase.upper()} of the visit, contrast {item.contrast.evidence} by {item.contrast.source}"
            missing = "CTPA" if phase == "nct" else "NCT"
            why = how if paired else f"{how}; no {missing} within {config.maximum_interval_hours:g} hours"
            return _series_row(row, number, phase if paired else "left out", item, why, hours if paired else None)
    if item.contrast.lungs is False:
        return _series_row(row, number, "left out", item, "shows no lungs: another part of the body?")
    phase = "ctpa" if item.contrast.evidence == "present" else "nct"
    best = taken[phase]
    if best is None:
        made = virtual_kind(item.first)
        why = f"not taken as NCT: {made}" if made else f"no CTPA within {config.maximum_interval_hours:g} hours"
        return _series_row(row, number, "left out", item, why)
    if rank(item, phase, config) > rank(best, phase, config):
        other = "CTPA" if phase == "nct" else "NCT"
        why = f"goes less well with the {other} taken: of another study, or too far from it in time"
        return _series_row(row, number, "left out", item, f"as {phase.upper()} {why}")
    return _series_row(row, number, "left out", item, f"as {phase.upper()} {why_behind(best, item, phase, config)}")


def _series_row(name: str, visit: int | str, role: str, item: Series, why: str, hours: float | None = None) -> dict:
    files = len({header.path for header in item.slices}) + sum(item.dropped.values())
    return _row(name, visit, role, series=item.describe(), files=files, why=why, interval_hours=hours)


def _row(name: str, visit: int | str, role: str, **values: Any) -> dict[str, Any]:
    return {"patient_id": name, "visit": visit, "taken_as": role, "interval_hours": None, "series": ""} | values
