"""`cpmn watch`: read what an archive sends, without a person."""

import argparse
import sys

from cpmn.cli.shared import Commands, path
from cpmn.errors import CpmnError
from cpmn.job.logs import USER_ERROR


def add(commands: Commands) -> None:
    watch = commands.add_parser(
        "watch",
        help="read what an archive sends, without a person, and send results back",
        description="Keep a queue of studies in FOLDER, from a DICOM listener (--listen) or from Orthanc (--orthanc). "
        "One worker reads them. Results go to each --send, else back to the Orthanc that they came from. SIGTERM stops "
        "it after the study in hand; started again, it goes on. See docs/how-to/archive.md.",
    )
    watch.add_argument("folder", type=path, help="folder of the queue, the results, the log and what was given up")
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
        "--new-only", action="store_true", help="with --orthanc: at the first look pass over the studies that it holds"
    )
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
    watch.add_argument(
        "--pause",
        type=float,
        default=30.0,
        metavar="S",
        help="seconds before the second try, then doubled (default: 30)",
    )
    watch.add_argument("--anonymous", action="store_true", help="name nobody in results, which an archive may refuse")
    watch.add_argument("--once", action="store_true", help="end when all that is there has been read")
    watch.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
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
    given_up = watch(
        work,
        stable_s=options.stable,
        port=options.listen,
        host=options.bind,
        allowed=options.allow,
        orthanc=options.orthanc,
        new_only=options.new_only,
        once=options.once,
    )
    if given_up:
        print(f"{given_up} studies were given up; {options.folder / 'dead'} says why.", file=sys.stderr)
    return USER_ERROR if given_up and options.once else 0
