"""The `cpmn` command. Every sub-command loads only what it needs; a user's mistake ends with exit code 2."""

import argparse
import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cpmn
from cpmn.config.phantom import DIFFICULTIES
from cpmn.errors import CpmnError
from cpmn.job.logs import USER_ERROR

DATASETS = ("fumpe", "cad-pe", "read", "rspect", "inspect")  # as in cpmn.importing.stage, which takes time to load
Commands = Any  # argparse does not name the type of its sub-commands publicly


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # waiting threads sleep, see workflow/rules/common.smk
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, format="%(levelname)s %(message)s")
    try:
        return options.run(options) or 0
    except (CpmnError, OSError) as error:  # OSError: a file or folder that cannot be read or written, with its name
        print(f"cpmn: {error}", file=sys.stderr)
        return USER_ERROR
    except MemoryError:
        print("cpmn: there is too little memory for this", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(prog="cpmn", description=cpmn.__doc__, epilog="Research use only.")
    top.add_argument("--version", action="version", version=f"cpmn {cpmn.__version__}")
    top.add_argument("-v", "--verbose", action="store_true", help="say what is being done")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for add in (
        _add_predict,
        _add_export,
        _add_watch,
        _add_seal,
        _add_check,
        _add_import,
        _add_join,
        _add_pair,
        _add_score,
        _add_phantom,
        _add_chest_phantom,
        _add_track,
        _add_info,
    ):
        add(commands)
    return top


def _path(text: str) -> Path:
    """An argument's path; an empty one, as of an unset variable, would be the current folder."""
    return Path(_given(text))


def _given(text: str) -> str:
    """An argument that must not be empty, as that of an unset variable is."""
    if not text:
        raise argparse.ArgumentTypeError("is empty")
    return text


def _add_predict(commands: Commands) -> None:
    predict = commands.add_parser(
        "predict",
        help="read new non-contrast chest CTs with a trained model",
        description="One scan is read into OUT. Of several, of a .csv or with --each, each study gets a folder of its "
        "name in OUT, and OUT/summary.csv a row: the model is loaded once, and a study that cannot be read does not "
        "stop the others.",
    )
    predict.add_argument(
        "series",
        type=_path,
        nargs="+",
        help="folder or .zip of DICOM files, or one image file in HU; several of them; or one .csv with a column "
        "series, and where wanted study and series_uid",
    )
    predict.add_argument("-o", "--output", type=_path, required=True, help="folder for mask, maps, picture and JSON")
    predict.add_argument("--each", action="store_true", help="each SERIES is a folder whose entries are studies")
    predict.add_argument(
        "--skip-existing", action="store_true", help="of many studies, leave those that this model has read already"
    )
    source = predict.add_mutually_exclusive_group()
    source.add_argument(
        "--model",
        type=_given,
        help="a .cpmn file or folder, a finished run's folder, or models:/NAME@champion of MLflow's registry",
    )
    source.add_argument("--results", type=_path, default=Path("results"), help="results folder of a finished run")
    predict.add_argument("--variant", default="cpmn", help="variant to use (default: cpmn)")
    predict.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto takes a CUDA GPU if there is one"
    )
    predict.add_argument("--series-uid", default="", help="SeriesInstanceUID, where the folder holds several")
    predict.add_argument(
        "--overrule",
        action="append",
        default=[],
        metavar="CHECK",
        help="take a scan that this check refuses, with a warning (docs/reference/checks.md); may be repeated",
    )
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
    predict.set_defaults(run=_predict)


def _add_export(commands: Commands) -> None:
    export = commands.add_parser(
        "export",
        help="write a trained model as one file",
        description="Write the networks of all folds, their plans, the decision with its hash, the model card and a "
        "licence into one zip archive, which `cpmn predict --model` reads anywhere. Nothing in it is pickled.",
    )
    export.add_argument("results", type=_path, help="results folder of a finished run")
    export.add_argument("-o", "--output", type=_path, required=True, help="file to write, ending in .cpmn")
    export.add_argument("--variant", default="cpmn", help="variant to export (default: cpmn)")
    export.add_argument("--licence", help="of the weights, one line (default: not stated)")
    export.set_defaults(run=_export)


def _add_watch(commands: Commands) -> None:
    watch = commands.add_parser(
        "watch",
        help="read what an archive sends, without a person, and send results back",
        description="Keep a queue of studies in FOLDER, from a DICOM listener (--listen) or from Orthanc (--orthanc). "
        "One worker reads them. Results go to each --send, else back to the Orthanc that they came from. SIGTERM stops "
        "it after the study in hand; started again, it goes on. See docs/how-to/archive.md.",
    )
    watch.add_argument("folder", type=_path, help="folder of the queue, the results, the log and what was given up")
    watch.add_argument("--model", default="results", help="as in cpmn predict (default: results of this folder)")
    watch.add_argument("--variant", default="cpmn", help="variant to use (default: cpmn)")
    watch.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="as in cpmn predict")
    watch.add_argument("--listen", type=int, metavar="PORT", help="take CT by C-STORE on this port")
    watch.add_argument("--bind", default="127.0.0.1", metavar="HOST", help="address to listen on (default: loopback)")
    watch.add_argument("--title", default="CPMN", help="our application entity title (default: CPMN)")
    watch.add_argument(
        "--allow", action="append", default=[], metavar="TITLE", help="title that may send; may be repeated"
    )
    watch.add_argument("--orthanc", default="", metavar="URL", help="ask this Orthanc for studies that became stable")
    watch.add_argument(
        "--send",
        action="append",
        default=[],
        metavar="TARGET",
        help="TITLE@HOST:PORT for C-STORE, stow:URL for STOW-RS, orthanc:URL for Orthanc; may be repeated",
    )
    watch.add_argument(
        "--stable", type=float, default=30.0, metavar="S", help="seconds without a new file (default: 30)"
    )
    watch.add_argument("--retries", type=int, default=3, metavar="N", help="tries after the first (default: 3)")
    watch.add_argument("--pause", type=float, default=30.0, metavar="S", help="before the second try; then doubled")
    watch.add_argument("--anonymous", action="store_true", help="name nobody in results, which an archive may refuse")
    watch.add_argument("--once", action="store_true", help="end when all that is there has been read")
    watch.set_defaults(run=_watch)


def _add_seal(commands: Commands) -> None:
    seal = commands.add_parser(
        "seal",
        help="vouch for a model whose files were changed on purpose",
        description="A model is refused when its weights, plan or decision are not what they were when it was "
        "evaluated. This command takes them as they are. The reason stands in the model and in every result from then "
        "on, and the model gets another hash.",
    )
    seal.add_argument(
        "model", type=_path, help="results folder of a finished run, or the folder that a .cpmn file was unpacked to"
    )
    seal.add_argument("--variant", default="cpmn", help="variant of a run (default: cpmn)")
    seal.add_argument("--reason", required=True, metavar="TEXT", help="what was changed, and why")
    seal.set_defaults(run=_seal)


def _add_check(commands: Commands) -> None:
    check = commands.add_parser("check", help="check a cohort sheet, and that the files it names exist")
    check.add_argument("cohort", type=_path, help="cohort.csv")
    check.add_argument(
        "--deep", action="store_true", help="read every scan and hold its facts against each other, before any run"
    )
    check.add_argument("--headers-only", action="store_true", help="with --deep: read no pixels, which takes minutes")
    check.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        metavar="J",
        help="with --deep: processes (default: one a core)",
    )
    check.add_argument(
        "-o", "--output", type=_path, default=Path("check"), help="with --deep: folder of check.csv and check.html"
    )
    check.set_defaults(run=_check)


def _add_import(commands: Commands) -> None:
    added = commands.add_parser(
        "import",
        help="make a cohort sheet and masks from a public PE data set",
        description="Write DEST/cohort.csv and DEST/ctpa_mask from a public set as it was unpacked; its scans stay "
        "where they are. No public set holds a non-contrast CT of the same patients: the column nct stays empty until "
        "you fill it in. See docs/how-to/public-data.md.",
    )
    added.add_argument("kind", metavar="KIND", type=str.lower, choices=DATASETS, help=", ".join(DATASETS))
    added.add_argument("source", metavar="SRC", type=_path, help="folder of the unpacked set")
    added.add_argument("-o", "--output", metavar="DEST", type=_path, required=True, help="folder for sheet and masks")
    added.add_argument(
        "--overrule",
        action="append",
        default=[],
        metavar="CHECK",
        help="take masks that this check refuses, with a warning (docs/reference/checks.md); may be repeated",
    )
    added.set_defaults(run=_import)


def _add_join(commands: Commands) -> None:
    join = commands.add_parser("join", help="make one cohort sheet of several: your pairs beside imported public sets")
    join.add_argument("sheets", nargs="+", metavar="COHORT", type=_path, help="cohort.csv")
    join.add_argument("-o", "--output", metavar="FILE", type=_path, required=True, help="the sheet to write")
    join.set_defaults(run=_join)


def _add_pair(commands: Commands) -> None:
    pair = commands.add_parser(
        "pair",
        help="propose pairs of CTPA and non-contrast CT from a hospital's export",
        description="Write a cohort sheet with a row for each visit of a patient that has both scans, and beside it "
        "what became of every series. A person checks the pairs and fills in the labels. See "
        "docs/how-to/hospital-export.md.",
    )
    pair.add_argument("export", type=_path, help="folder that the export was unpacked into")
    pair.add_argument("-o", "--output", type=_path, required=True, help="cohort.csv to write")
    pair.add_argument(
        "--headers-only",
        action="store_true",
        help="read no pixels: contrast is told by the tags, often wrong",
    )
    pair.set_defaults(run=_pair)


def _add_score(commands: Commands) -> None:
    score = commands.add_parser("score", help="score a folder of predicted masks against a cohort's references")
    score.add_argument(
        "predictions",
        type=_path,
        help="folder of {patient_id}.nii.gz on the native NCT grid; a scores.csv in it (patient_id, score, perhaps "
        "decision) is taken for the patients, else the marked volume",
    )
    score.add_argument("--cohort", type=_path, required=True, help="cohort.csv with nct_truth or nct_mask")
    score.add_argument("-o", "--output", type=_path, help="JSON file to write (default: print)")
    score.set_defaults(run=_score)


def _add_phantom(commands: Commands) -> None:
    phantom = commands.add_parser(
        "phantom",
        help="write a dual-phase phantom cohort, as DICOM or NIfTI",
        description="Write a synthetic cohort of paired CTPA and NCT with known clots and known motion. One patient of "
        "each pair has PE. The same settings give the same bytes. An interrupted command goes on when repeated; "
        "patients that are there with the same settings are kept. See docs/phantom.md.",
    )
    phantom.add_argument("-o", "--output", type=_path, required=True, help="folder for the cohort and its cohort.csv")
    phantom.add_argument("--patients", type=int, metavar="N", help="number of patients (default: 12)")
    phantom.add_argument("--seed", type=int, metavar="S", help="seed of the cohort (default: 7)")
    phantom.add_argument(
        "--difficulty",
        choices=DIFFICULTIES,
        help="contrast of clots to blood on NCT: learnable +15 to +35 HU (default); mixed: the published mixture for "
        "each clot; realistic: the mixture once per patient; invisible: none, to see what leaks",
    )
    phantom.add_argument("--jobs", type=int, default=1, metavar="J", help="processes, up to 1.5 GB each (default: 1)")
    phantom.add_argument(
        "--truth-only", action="store_true", help="NCT and clot labels as NIfTI alone, without DICOM and CTPA"
    )
    phantom.add_argument(
        "--config", type=_path, help="configuration file whose `phantom` section is used, e.g. config/benchmark.yaml"
    )
    phantom.set_defaults(run=_phantom)


def _add_chest_phantom(commands: Commands) -> None:
    chest = commands.add_parser(
        "chest-phantom",
        help="make pairs with simulated emboli from real non-contrast chests",
        description="Write a cohort of paired CTPA and NCT from real non-contrast chests: anatomy and noise are real, "
        "contrast medium, emboli and motion computed. The last chest is for testing. An interrupted command goes on "
        "when repeated; pairs that are there with the same settings are kept. See docs/real-anatomy.md.",
    )
    chest.add_argument("series", type=_path, nargs="+", help="two chests or more: folders of DICOM files, or HU images")
    chest.add_argument("-o", "--output", type=_path, required=True, help="folder for the cohort and its cohort.csv")
    chest.add_argument(
        "--pairs", type=int, default=4, help="pairs per chest, every second one with emboli (default: 4)"
    )
    chest.add_argument("--seed", type=int, default=7, help="the same seed gives the same bytes (default: 7)")
    chest.add_argument(
        "--difficulty",
        choices=DIFFICULTIES,
        default="learnable",
        help="contrast of clots to blood on NCT, as in cpmn phantom (default: learnable)",
    )
    chest.add_argument("--shrink", type=int, default=2, help="average in-plane voxels in N x N blocks (default: 2)")
    chest.set_defaults(run=_chest_phantom)


def _add_track(commands: Commands) -> None:
    track = commands.add_parser("track", help="records of runs in MLflow")
    actions = track.add_subparsers(required=True, metavar="ACTION")
    sync = actions.add_parser("sync", help="send what a failed or slow MLflow server did not take")
    sync.add_argument("--results", type=_path, default=Path("results"), help="results folder (default: results)")
    sync.set_defaults(run=_sync)


def _add_info(commands: Commands) -> None:
    info = commands.add_parser("info", help="versions and devices")
    info.add_argument("--json", action="store_true", help="machine-readable")
    info.set_defaults(run=_info)


def _predict(options: argparse.Namespace) -> int:
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


def _export(options: argparse.Namespace) -> None:
    from cpmn.model.package import NOT_STATED, export_model

    decision = export_model(options.results, options.variant, options.output, options.licence or NOT_STATED)
    assert decision.seal is not None  # it would not have been exported
    print(f"{options.output}: {decision.variant}, {len(decision.folds)} network(s), sha256 {decision.seal.sha256}")


def _watch(options: argparse.Namespace) -> None:
    from cpmn.watch.service import watch
    from cpmn.watch.worker import Work

    if options.listen is None and not options.orthanc:
        raise CpmnError("nothing to watch: add --listen PORT or --orthanc URL.")
    targets = tuple(options.send) or ((f"orthanc:{options.orthanc}",) if options.orthanc else ())
    if not targets:
        raise CpmnError("results have nowhere to go: add --send TARGET.")
    work = Work(
        folder=options.folder,
        model=options.model,
        variant=options.variant,
        device=options.device,
        targets=targets,
        title=options.title,
        identity=not options.anonymous,
        retries=options.retries,
        pause_s=options.pause,
    )
    watch(
        work,
        stable_s=options.stable,
        port=options.listen,
        host=options.bind,
        allowed=options.allow,
        orthanc=options.orthanc,
        once=options.once,
    )


def _seal(options: argparse.Namespace) -> None:
    from cpmn.model.modelfiles import DECISION_FILE, ZippedFiles, find_model
    from cpmn.model.seal import reseal

    files = find_model(options.model, options.variant)
    if isinstance(files, ZippedFiles):
        raise CpmnError(f"{options.model} cannot be changed in place. Unpack it into a folder, and seal that.")
    decision = reseal(files, files.path(DECISION_FILE), options.reason)
    assert decision.seal is not None  # just made
    print(f"{files.where}: sealed as {decision.seal.sha256}")


def _check(options: argparse.Namespace) -> int:
    from cpmn.cohort.kinds import kind_lines, require_outlines
    from cpmn.cohort.sheet import load_cohort, missing_files, shared_scans
    from cpmn.cohort.splits import split_cohort
    from cpmn.config.train import TrainConfig

    patients = load_cohort(options.cohort)
    problems = [f"patient {p.patient_id}: {problem}" for p in patients for problem in missing_files(p)]
    for message in [*problems, *(f"warning: {warning}" for warning in shared_scans(patients))]:
        print(message, file=sys.stderr)
    positives = sum(patient.label for patient in patients)
    print(f"{len(patients)} patients, {positives} with PE, {len(problems)} problems")
    print("".join(f"  {line}\n" for line in kind_lines(patients)), end="")
    try:
        require_outlines(patients)
        split_cohort(patients, TrainConfig())
    except CpmnError as error:  # no problem of a sheet for `cpmn score`
        print(f"As it is, this cohort cannot be trained on: {error}")
    if options.deep:
        return USER_ERROR if _check_deeply(patients, options) or problems else 0
    print("What is in the scans and masks was not looked at: --deep does, and so do the run's first stages.")
    return USER_ERROR if problems else 0


def _join(options: argparse.Namespace) -> int:
    from cpmn.cohort.join import join_sheets
    from cpmn.cohort.kinds import kind_lines

    patients = join_sheets(options.sheets, options.output)
    print(f"{options.output}: {len(patients)} patients")
    print("".join(f"  {line}\n" for line in kind_lines(patients)), end="")
    return 0


def _check_deeply(patients: Sequence[Any], options: argparse.Namespace) -> bool:
    """Ask all checks of all scans; whether any refuses."""
    from tqdm import tqdm

    from cpmn.checks.deep import check_deeply, write_findings
    from cpmn.config.convert import ConvertConfig

    with tqdm(total=len(patients), unit="patient", disable=None) as bar, _errors_alone():
        rows = check_deeply(
            patients,
            ConvertConfig(),
            jobs=options.jobs,
            headers_only=options.headers_only,
            done=lambda _name: bar.update(),
        )
    write_findings(rows, options.output)
    counts = Counter(row.outcome for row in rows)
    print(f"{counts['refused']} refused, {counts['warned']} warned of, {counts['passed']} passed: look at")
    print(f"{options.output / 'check.html'}")
    return counts["refused"] > 0


@contextmanager
def _errors_alone() -> Iterator[None]:
    """No warnings in the log: all that was found stands in a table."""
    log = logging.getLogger("cpmn")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def _import(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from cpmn.importing.stage import import_dataset

    with tqdm(unit="patient", disable=None) as bar:
        rows, skipped = import_dataset(
            *(options.kind, options.source, options.output, lambda _name: bar.update()), overrule=options.overrule
        )
    for one in skipped:
        print(f"left out: {one.patient_id}: {one.reason}", file=sys.stderr)
    counts = Counter(row["label"] for row in rows), sum(bool(row["ctpa_mask"]) for row in rows)
    print(f"{options.output / 'cohort.csv'}: {len(rows)} CTPA, {counts[0]['1']} with PE, {counts[1]} with a mask")
    print(
        "The column nct is empty: no public set holds non-contrast scans. It can be filled in where you have scans of "
        "these same patients; never pair another patient's."
    )
    return 0


def _pair(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from cpmn.config.convert import ConvertConfig
    from cpmn.files import write_table
    from cpmn.importing.pairing import SERIES_COLUMNS, SHEET_COLUMNS, propose_pairs

    series = options.output.with_name(f"{options.output.stem}-series.csv")
    if there := [path for path in (options.output, series) if path.exists()]:
        raise CpmnError(f"{there[0]} exists, perhaps with a person's work in it. Remove it, or give another name.")
    with tqdm(unit="patient", disable=None) as bar, _errors_alone():
        found = propose_pairs(
            options.export, ConvertConfig(), look=not options.headers_only, done=lambda _name: bar.update()
        )
    for warning in found.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    write_table(options.output, SHEET_COLUMNS, found.sheet)
    write_table(series, SERIES_COLUMNS, found.series)
    counts = Counter(row["taken_as"] for row in found.series)
    print(f"{options.output}: {len(found.sheet)} pairs proposed; {counts['left out']} series or kinds of file left out")
    print(f"Look at {series}, fill in the column label (1 = PE, 0 = not) and ctpa_mask, then run cpmn check.")


def _score(options: argparse.Namespace) -> None:
    from cpmn.files import write_json
    from cpmn.scoring.folder import score_predictions

    figures = score_predictions(options.predictions, options.cohort)
    if options.output:
        write_json(options.output, figures)
    else:
        print(json.dumps(figures, indent=2))


def _phantom(options: argparse.Namespace) -> None:
    from cpmn.config.files import read_config
    from cpmn.phantom.cohort import make_cohort

    if options.jobs < 1:
        raise CpmnError(f"--jobs is {options.jobs}; it is the number of processes, at least 1.")
    given = {key: getattr(options, key) for key in ("patients", "seed", "difficulty")}
    config = read_config(options.config).phantom.changed({k: v for k, v in given.items() if v is not None})
    with _progress(options.output, config.patients, "patients") as done:
        make_cohort(config, options.output, jobs=options.jobs, truth_only=options.truth_only, done=done)


def _chest_phantom(options: argparse.Namespace) -> None:
    from cpmn.phantom.chest.stage import write_chest_cohort

    given = {name: getattr(options, name) for name in ("pairs", "seed", "difficulty", "shrink")}
    with _progress(options.output, len(options.series) * options.pairs, "pairs") as done:
        write_chest_cohort(options.series, options.output, **given, done=done)


@contextmanager
def _progress(folder: Path, total: int, unit: str) -> Iterator[Callable[[str, bool], None]]:
    """A bar, and at the end what was made."""
    from tqdm import tqdm

    counts = Counter()
    with tqdm(total=total, unit=unit.removesuffix("s"), disable=None) as bar:

        def done(_name: str, made: bool) -> None:
            counts[made] += 1
            bar.update()

        yield done
    print(f"{folder / 'cohort.csv'}: {counts[True]} {unit} made, {counts[False]} were there already")


def _sync(options: argparse.Namespace) -> None:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    from cpmn.track import sync_results

    try:
        print(f"sent {sync_results(options.results)} runs")
    except (MlflowException, SQLAlchemyError) as error:
        raise CpmnError(f"MLflow did not take everything: {error}. Run it again when the server is there.") from error


def _info(options: argparse.Namespace) -> None:
    from cpmn.job.versions import versions

    found = versions()
    found["device"] = _device() if found["torch"] else None
    print(json.dumps(found, indent=2) if options.json else "\n".join(f"{k:14} {v}" for k, v in found.items()))


def _device() -> str:
    from cpmn.model.devices import choose_device, device_name

    return device_name(choose_device("auto"))


if __name__ == "__main__":
    sys.exit(main())
