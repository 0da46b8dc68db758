"""One case in a process of its own, so that what crashes, hangs or eats memory costs one case."""

import multiprocessing
import resource
import signal
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from cpmn.errors import CpmnError, trouble_of_machine

LONGEST_SECONDS = 60.0  # of a processor; a case of the largest base input takes about one
LONGEST_WAIT_SECONDS = 600.0  # by the clock, on a busy machine
MOST_BYTES = 4 << 30  # beyond what the process has already

FORK = multiprocessing.get_context("fork")


class Outcome(NamedTuple):
    """What became of a case: a kind of `KINDS`, and the message or traceback."""

    kind: str
    told: str = ""


KINDS = {
    "unchanged": "read, and equal to the undamaged file",
    "as stated": "read as an independent reader reads the damaged file: it says so, and is wrong in itself",
    "warned": "read, with a warning that the undamaged file does not get",
    "refused": "one message",
    "machine": "one message that blames the machine; the job runs again",
    "silent wrong": "read, unlike the undamaged file and unlike the independent reading of the damaged one",
    "traceback": "an exception that is not meant for a user, or a crash",
    "hang": f"more than {LONGEST_SECONDS:g} s of a processor",
}


def outcome(case: Callable[[], Outcome]) -> Outcome:
    """Run a case in a forked process, within limits of time and memory."""
    receiver, sender = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_work, args=(case, sender), daemon=True)
    process.start()
    sender.close()
    try:
        found = receiver.recv() if receiver.poll(LONGEST_WAIT_SECONDS) else Outcome("hang")
    except EOFError:  # it ended without a word
        process.join()
        slow = process.exitcode in (-signal.SIGXCPU, -signal.SIGKILL)
        found = Outcome("hang" if slow else "traceback", f"exit code {process.exitcode}")
    if process.is_alive():
        process.kill()
    process.join()
    return found


def _work(case: Callable[[], Outcome], sender: Any) -> None:
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit_to(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + LONGEST_SECONDS))
    limit_to(resource.RLIMIT_AS, _bytes_now() + MOST_BYTES)
    sender.send(judged(case))


def limit_to(kind: int, most: int) -> None:
    """Set a limit of this process, for good."""
    resource.setrlimit(kind, (most, most))


def judged(case: Callable[[], Outcome]) -> Outcome:
    """What a case gives or raises, as `cpmn` and its jobs would tell a user."""
    try:
        return case()
    except CpmnError as error:
        return Outcome("refused", str(error))
    except Exception as error:
        trouble = trouble_of_machine(error)
        return Outcome("machine", trouble) if trouble else Outcome("traceback", traceback.format_exc())


def _bytes_now() -> int:
    with open("/proc/self/statm") as stream:  # noqa: PTH123  (of this process, in pages)
        return int(stream.read().split()[0]) * resource.getpagesize()
