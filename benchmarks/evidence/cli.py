"""`python -m benchmarks evidence COMMAND`."""

import argparse
import signal
import sys
from collections.abc import Sequence

from benchmarks.evidence import queue, table
from benchmarks.evidence.comparison import PRIMARY
from benchmarks.evidence.jobs import list_jobs
from benchmarks.evidence.plan import PROJECT, RESULTS, load_plan

DOCUMENT = PROJECT / "docs" / "benchmark.md"
PICTURE = DOCUMENT.parent / "images" / "evidence.png"


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks evidence", description="See benchmarks/evidence.")
    commands = parser.add_subparsers(required=True, dest="command")
    commands.add_parser("run", help="do what is missing")
    commands.add_parser("status", help="say what is done and what is missing")
    commands.add_parser("table", help="write the result part of docs/benchmark.md and draw its picture")
    commands.add_parser("cost", help="measure what a step of each variant costs; best on an idle machine")
    commands.add_parser("labels", help="measure how far the training cohorts' carried labels agree with the truth")
    commands.add_parser("blood", help="measure how the stored runs' scores follow the patients' blood")
    commands.add_parser("gap", help="measure how well networks read the patients that they were trained on")
    commands.add_parser("mlflow", help="record all stored runs in the data folder's mlflow.db, to compare them there")
    commands.add_parser("job", help="do one job, as `run` does in processes of their own").add_argument("name")
    options = parser.parse_args(arguments)
    actions = {"run": _run, "status": _status, "table": _table, "mlflow": _mlflow, "job": _job}
    actions |= dict.fromkeys(("cost", "labels", "blood", "gap"), _measure)
    return actions[options.command](options)


def _run(options: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `kill` ends the jobs too
    failed = queue.run_all(lambda: list_jobs(load_plan()), queue.start_process)
    for name in sorted(failed):
        queue.report(f"failed, see {queue.log_folder()}: {name}")
    return 1 if failed else 0


def _status(options: argparse.Namespace) -> int:
    for job in list_jobs(load_plan()):
        print(f"{'done' if job.is_done() else 'missing':8}{job.name}")
    return 0


def _table(options: argparse.Namespace) -> int:
    from benchmarks.evidence.figure import draw_evidence

    plan = load_plan()
    table.write_document(plan, DOCUMENT)
    decisive = [run for run in plan.runs if (run.difficulty, run.judged, run.trial) == (PRIMARY, "test", "")]
    draw_evidence(decisive, RESULTS, PICTURE)
    return 0


def _mlflow(options: argparse.Namespace) -> int:
    from benchmarks.evidence.tracking import database, record_stored

    names = record_stored(load_plan())
    print(f"{len(names)} runs recorded: mlflow ui --backend-store-uri {database()}")
    return 0


def _measure(options: argparse.Namespace) -> int:
    from benchmarks.evidence.blood import measure_blood
    from benchmarks.evidence.cost import measure_cost
    from benchmarks.evidence.gap import measure_gaps
    from benchmarks.evidence.labels import measure_labels

    measures = {"cost": measure_cost, "labels": measure_labels, "blood": measure_blood, "gap": measure_gaps}
    print(measures[options.command](load_plan()).to_string(index=False))
    return 0


def _job(options: argparse.Namespace) -> int:
    job = next(job for job in list_jobs(load_plan()) if job.name == options.name)
    job.work()
    return 0
