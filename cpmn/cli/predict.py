"""`cpmn predict`: read new scans with a trained model."""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from cpmn.cli.shared import Commands, path, text
from cpmn.errors import CpmnError
from cpmn.job.logs import USER_ERROR


def add(commands: Commands) -> None:
    predict = commands.add_parser(
        "predict",
        help="read new non-contrast chest CTs with a trained model",
        description="One scan is read into OUT. Of several, of a .csv or with --each, each study gets a folder of its "
        "name in OUT, and OUT/summary.csv a row: the model is loaded once, and a study that cannot be read does not "
        "stop the others.",
    )
    predict.add_argument(
        "series",
        type=path,
        nargs="+",
        help="folder or .zip of DICOM files, or one image file in HU; several of them; or one .csv with a column "
        "series, and where wanted study and series_uid",
    )
    predict.add_argument("-o", "--output", type=path, required=True, help="folder for mask, maps, picture and JSON")
    _add_studies(predict)
    _add_model(predict)
    predict.add_argument(
        "--overrule",
        action="append",
        default=[],
        metavar="CHECK",
        help="take a scan that this check refuses, with a warning (docs/reference/checks.md); may be repeated",
    )
    _add_dicom(predict)
    predict.set_defaults(run=run)


def _add_studies(predict: argparse.ArgumentParser) -> None:
    predict.add_argument("--each", action="store_true", help="each SERIES is a folder whose entries are studies")
    predict.add_argument(
        "--skip-existing", action="store_true", help="of many studies, leave those that this model has read already"
    )
    predict.add_argument("--series-uid", default="", help="SeriesInstanceUID, where the folder holds several")


def _add_model(predict: argparse.ArgumentParser) -> None:
    source = predict.add_mutually_exclusive_group()
    source.add_argument(
        "--model",
        type=text,
        help="a .cpmn file or folder, a finished run's folder, or models:/NAME@champion of MLflow's registry",
    )
    source.add_argument("--results", type=path, default=Path("results"), help="results folder of a finished run")
    predict.add_argument("--variant", default="cpmn", help="variant to use (default: cpmn)")
    predict.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto takes a CUDA GPU if there is one"
    )


def _add_dicom(predict: argparse.ArgumentParser) -> None:
    predict.add_argument(
        "--dicom",
        "--dicom-seg",
        action="store_true",
        help="write the marks as a DICOM Segmentation, the figures as a structured report, the picture as an image too",
    )
    predict.add_argument(
        "--identity",
        action="store_true",
        help="name the patient in the DICOM files as the series does, so that an archive can file them",
    )


def run(options: argparse.Namespace) -> int:
    from cpmn.predict.stage import predict_series

    if options.identity and not options.dicom:
        raise CpmnError("--identity is about the DICOM files: no other file names a patient. Add --dicom.")
    given = {name: getattr(options, name) for name in ("dicom", "identity", "overrule")}
    named = {"model": options.model or options.results, "variant": options.variant, "device": options.device}
    first = options.series[0]
    if options.each or len(options.series) > 1 or first.suffix.lower() == ".csv":
        return _predict_studies(options, named, given)
    if options.skip_existing:
        raise CpmnError("--skip-existing is for many studies. Give several, a .csv, or --each.")
    result = predict_series(first, output=options.output, series_uid=options.series_uid, **named, **given)
    print(json.dumps(result, indent=2))
    return 0


def _predict_studies(options: argparse.Namespace, named: dict[str, Any], given: dict[str, Any]) -> int:
    from tqdm import tqdm

    from cpmn.predict.batch import SUMMARY, predict_studies, studies_of
    from cpmn.predict.model import load_model

    if options.series_uid:
        raise CpmnError("--series-uid is of one study. Of many, name it in the column series_uid of a .csv.")
    studies = studies_of(options.series, options.each)
    with tqdm(total=len(studies), unit="study", disable=None) as bar:
        rows = predict_studies(
            load_model(**named),
            studies,
            options.output,
            skip_existing=options.skip_existing,
            done=lambda _name: bar.update(),
            **given,
        )
    for row in rows:
        if row["outcome"] == "failed":
            print(f"{row['study']}: {row['problem']}", file=sys.stderr)
    counts = Counter(row["outcome"] for row in rows)
    print(f"{options.output / SUMMARY}: {counts['read']} read, {counts['skipped']} skipped, {counts['failed']} failed")
    return USER_ERROR if counts["failed"] else 0
