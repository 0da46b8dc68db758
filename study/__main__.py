"""`python -m study`: write the tables of the pages; `figure`: draw their plots; `track`: write the curve of pairs
without masks into the MLflow of --uri; of a finished run, by the folder RESULTS, `pictures`: draw its clots, `keep`:
add its readings to the kept tables, `own`: outline the pairs without an outline as its network reads their NCT, `rule`:
outline them by a rule of thumb on their CTPA, `read`: let it read locked patients, once, `outlines`: measure whom
it outlined, `retrieval`: whether alignment tells a patient's own CTPA from another's."""

import argparse
from pathlib import Path

from cpmn.config.root import Config, load_config
from study.page import DOCS, write_pages
from study.tables import RESULTS


def main() -> None:
    """Write what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m study", description=__doc__)
    parser.add_argument("what", nargs="?", choices=COMMANDS, default="tables")
    parser.add_argument("results", nargs="?", type=Path, help="results of a run")
    parser.add_argument("--variant", help="with pictures, read: whose (default: nct_only); own: needed")
    parser.add_argument(
        "--into",
        type=Path,
        help="with keep, own, rule, read, outlines, retrieval: folder of what is made; track: whose tables are written",
    )
    parser.add_argument("--judged", type=Path, help="with read: results of the run that preprocessed whom to read")
    parser.add_argument("--steps", type=int, default=300, help="with retrieval: of training")
    parser.add_argument("--uri", default="sqlite:///mlflow.db", help="with track: the MLflow store or server")
    options = parser.parse_args()
    if options.what == "own" and options.variant is None:
        parser.error("own needs --variant: the one that learnt from the labels alone")
    options.variant = options.variant or "nct_only"
    options.results = (options.results or Path("results")).absolute()
    COMMANDS[options.what](options)


def _tables(_: argparse.Namespace) -> None:
    write_pages()


def _figure(_: argparse.Namespace) -> None:
    from study.figure import draw_curve, draw_forest

    draw_forest(DOCS / "images" / "forest.png")
    draw_curve(DOCS / "images" / "outlines.png")


def _track(options: argparse.Namespace) -> None:
    from study.few import FEW
    from study.record import record_curve

    print(f"MLflow holds {', '.join(record_curve(options.uri, options.into or FEW))}")


def _pictures(options: argparse.Namespace) -> None:
    from study.pictures import draw_pictures

    for place in draw_pictures(options.results, options.variant, DOCS / "images"):
        print(f"{place.kind}: {place.patient}, {place.ml:.2f} mL")


def _keep(options: argparse.Namespace) -> None:
    from study.keep import keep

    for run, added in keep(options.results, options.into or RESULTS).items():
        print(f"{run}: {'kept' if added else 'stands there already'}")


def _own(options: argparse.Namespace) -> None:
    from study.own import outline_by_itself

    into = options.into or RESULTS
    for patient, pieces in outline_by_itself(options.results, options.variant, into, _settings()).items():
        print(f"{patient}: {pieces} pieces")


def _rule(options: argparse.Namespace) -> None:
    from study.rule import outline_by_rule

    for patient, pieces in outline_by_rule(options.results, options.into or RESULTS, _settings()).items():
        print(f"{patient}: {pieces} pieces")


def _read(options: argparse.Namespace) -> None:
    from study.scores import read_once

    judged = options.judged and options.judged.absolute()
    read, excluded = read_once(options.results, options.variant, _settings(), options.into or RESULTS, judged)
    print(f"{read} patients read, {excluded} left out, which preprocessing had excluded")


def _outlines(options: argparse.Namespace) -> None:
    from study.scores import measure_outlines

    print(measure_outlines(options.results, options.into or RESULTS))


def _retrieval(options: argparse.Namespace) -> None:
    from study.retrieval import measure_retrieval

    print(
        measure_retrieval(options.results, _settings(), options.steps, options.into or RESULTS).to_string(index=False)
    )


def _settings() -> Config:
    """The workflow's configuration in `protocol.yaml`."""
    from study.cohort import stored_protocol, workflow_config

    return load_config(workflow_config(stored_protocol()))


COMMANDS = {
    "tables": _tables,
    "figure": _figure,
    "track": _track,
    "pictures": _pictures,
    "keep": _keep,
    "own": _own,
    "rule": _rule,
    "read": _read,
    "outlines": _outlines,
    "retrieval": _retrieval,
}


if __name__ == "__main__":
    main()
