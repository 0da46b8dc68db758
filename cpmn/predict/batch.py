"""Many studies read in one call: the model is loaded once, and the next scan is converted while one is read."""

import csv
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpmn.dicom.archive import leads_nowhere
from cpmn.dicom.imagefile import SUFFIXES
from cpmn.errors import CpmnError
from cpmn.files import read_json, read_table, write_table
from cpmn.predict.model import Model
from cpmn.predict.stage import DICOM_OUTPUTS, FAILURE, Scan, convert_series, predict_series, request_key

logger = logging.getLogger(__name__)

COLUMNS = (
    *("study", "outcome", "decision", "score", "threshold", "probability", "marks", "volume_ml"),
    *("reasons", "warnings", "problem", "seconds"),
)
SHEET_COLUMNS = ("study", "series", "series_uid")
STUDY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
SOURCES = (*SUFFIXES, ".zip")
PREDICTION, SUMMARY = "prediction.json", "summary.csv"


@dataclass(frozen=True)
class Study:
    """One scan to read: its name is that of its folder in the output."""

    name: str
    source: Path
    series_uid: str = ""


def studies_of(inputs: Sequence[Path], each: bool = False) -> list[Study]:
    """The studies that a call names.

    Parameters
    ----------
    inputs : scans, or one .csv with the columns `series` (path, relative to the sheet), and where wanted `study` (name)
        and `series_uid`.
    each : whether each input is a folder whose entries are studies, and not itself a study with several series.

    Raises CpmnError for a sheet without that column, a name that is no name for a folder, or two of one name.
    """
    if len(inputs) == 1 and inputs[0].suffix.lower() == ".csv":
        studies = list(_of_sheet(inputs[0]))
    else:
        sources = [entry for folder in inputs for entry in _entries(folder)] if each else inputs
        studies = [Study(_name(source), source) for source in sources]
    seen: dict[str, Path] = {}
    for one in studies:
        if not STUDY.fullmatch(one.name):
            raise CpmnError(
                f"'{one.name}' ({one.source}) cannot name a folder of results. Name studies by letters, digits, '.', "
                "'_' and '-' in the column study of a .csv."
            )
        if one.name in seen:
            both = f"{seen[one.name]} and {one.source}"
            raise CpmnError(f"{both} would both be '{one.name}'. Name them in the column study of a .csv.")
        seen[one.name] = one.source
    return studies


def predict_studies(
    model: Model,
    studies: Sequence[Study],
    output: Path,
    *,
    skip_existing: bool = False,
    done: Callable[[str], object] = lambda _name: None,
    **options: Any,
) -> list[dict[str, Any]]:
    """Read each study into `output`/{name} and write `output`/summary.csv anew after each; its rows.

    A study that cannot be read has its reason in its row and its error.json, and the others go on.

    Parameters
    ----------
    skip_existing : whether a study is left as it is that this very model has read already, from the same source and
        with the same options.
    done : called with each study's name when it is finished.
    options : others of `predict_series`, for all studies.
    """
    rows: list[dict[str, Any]] = []
    waiting = [one for one in studies if not (skip_existing and _is_read(one, output / one.name, model, options))]
    with ThreadPoolExecutor(max_workers=1) as ahead:
        converted = _converted_ahead(ahead, model, waiting)
        for study in studies:
            began = time.perf_counter()
            row = next(converted, None) if study in waiting else None
            found = _row(study, output, model, row, options)
            rows.append({"study": study.name, **found, "seconds": round(time.perf_counter() - began, 1)})
            write_table(output / SUMMARY, COLUMNS, rows)
            done(study.name)
    return rows


def _converted_ahead(ahead: ThreadPoolExecutor, model: Model, studies: Sequence[Study]) -> Iterator[Callable[[], Scan]]:
    """Each study's scan, on its way while the one before is read; no more than one waits in memory."""
    following: Future[Scan] | None = None
    for number in range(len(studies)):
        present = following or _submit(ahead, model, studies[number])
        following = _submit(ahead, model, studies[number + 1]) if number + 1 < len(studies) else None
        yield present.result


def _submit(ahead: ThreadPoolExecutor, model: Model, study: Study) -> "Future[Scan]":
    return ahead.submit(convert_series, study.source, model, study.series_uid)


def _row(
    study: Study, output: Path, model: Model, scan: Callable[[], Scan] | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    folder = output / study.name
    if scan is None:
        return _figures(read_json(folder / PREDICTION)) | {"outcome": "skipped"}
    try:
        given = {**options, "series_uid": study.series_uid, "scan": scan}
        return _figures(predict_series(study.source, model=model, output=folder, **given)) | {"outcome": "read"}
    except (CpmnError, OSError) as error:
        return {"outcome": "failed", "problem": _problem(folder, error)}
    except Exception as error:  # a fault of ours must not cost the other studies their results
        logger.exception("study %s", study.name)
        return {"outcome": "failed", "problem": f"unexpected: {type(error).__name__}"}


def _figures(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "decision": record["decision"],
        "score": record["score"],
        "threshold": record["threshold"]["value"],
        "probability": record["probability"]["value"],
        "marks": len(record["lesions"]),
        "volume_ml": record["volume_ml"],
        "reasons": "; ".join(record["reasons"]),
        "warnings": "; ".join(record["warnings"]),
    }


def _problem(folder: Path, error: Exception) -> str:
    """What went wrong; of a scan as its record of a failure says it, without paths that may name the patient."""
    try:
        return read_json(folder / FAILURE)["problem"]
    except (OSError, ValueError, KeyError, TypeError):
        return str(error)


def _is_read(study: Study, folder: Path, model: Model, options: Mapping[str, Any]) -> bool:
    """Whether the folder holds all that this call would write of this very source."""
    try:
        record = read_json(folder / PREDICTION)
        same = record["model"]["sha256"] == model.facts["sha256"]
        same &= record["request"] == request_key(study.source, study.series_uid, options)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    last = DICOM_OUTPUTS if options.get("dicom") else ()
    return same and all((folder / name).is_file() for name in last) and not (folder / FAILURE).exists()


def _of_sheet(path: Path) -> Iterable[Study]:
    if not path.is_file():
        raise CpmnError(f"{path} does not exist. Correct the path.")
    try:
        rows = read_table(path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise CpmnError(f"{path} is no CSV file in UTF-8 ({error}). Save it again as CSV (UTF-8).") from error
    if not rows or "series" not in rows[0]:
        raise CpmnError(f"{path} has no row or no column 'series'. Its columns are {', '.join(SHEET_COLUMNS)}.")
    for number, row in enumerate(rows, start=1):
        if not (row["series"] or "").strip():
            raise CpmnError(f"{path}: row {number} names no series. Fill in the column 'series', or remove the row.")
        source = path.parent / row["series"]
        yield Study(row.get("study") or _name(source), source, row.get("series_uid") or "")


def _entries(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise CpmnError(f"{folder} is no folder of studies. Leave out --each, or correct the path.")
    return sorted(
        one
        for one in folder.iterdir()
        if not one.name.startswith(".")
        and (one.is_dir() or one.name.lower().endswith(SOURCES) or leads_nowhere(one))  # said to be missing, one by one
    )


def _name(source: Path) -> str:
    """The name of a folder or file, without the ending of an image; of a link its own, and not where it leads."""
    name = Path(os.path.abspath(source)).name  # noqa: PTH100 (`resolve` follows links; `absolute` keeps `.`)
    return next((name[: -len(ending)] for ending in SOURCES if name.lower().endswith(ending)), name)
