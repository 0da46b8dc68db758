"""The queue on disk: every state of a study is a folder, and every step from one to the next a rename.

    FOLDER/incoming/KEY   files arrive
           ready/KEY      nothing has arrived for a while: waits to be read
           working/KEY    is being read or sent
           done/KEY.json  which files were read, so that the same study again is no second result
           dead/KEY       given up; reason.json says why
           results/KEY    what `cpmn predict` writes
           trash/*        is being deleted

KEY is a hash of the StudyInstanceUID. A process may be killed at any moment: what it had in `working` goes back to
`ready`.
"""

import fcntl
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cpmn.dicom.identity import uid_key
from cpmn.errors import CpmnError
from cpmn.files import read_json, sha256_of_json, write_json, written_atomically
from cpmn.watch.audit import Audit

logger = logging.getLogger(__name__)

STATES = ("incoming", "ready", "working", "done", "dead", "results", "trash")
LOOK_S = 0.5  # between two looks at what another process holds, or into an empty queue
STATE, REASON = "state.json", "reason.json"
BLAMELESS = ("archive", "machine", "unexpected")  # why a study was given up that may go well when it is sent again


@dataclass(frozen=True)
class QueuedStudy:
    """A study that is being read: its key, its folder of DICOM files, where results go, and what was done before."""

    key: str
    folder: Path
    results: Path
    digest: str
    attempts: int
    read: bool
    sent: tuple[str, ...] = ()

    @property
    def files(self) -> Path:
        """Folder of its DICOM files."""
        return self.folder / "files"


class Spool:
    """The queue in `folder`, which is made; `retries` is how often a study is tried again before it is given up."""

    def __init__(self, folder: Path, *, retries: int = 3, pause_s: float = 30.0):
        self.folder, self._retries, self._pause_s = folder, retries, pause_s
        for name in STATES:
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.audit = Audit(folder / "audit.jsonl")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the spool for one service. Raises CpmnError if another has it."""
        with (self.folder / "lock").open("w") as file:
            if not _locked_at_once(file):
                raise CpmnError(f"another cpmn watch works in {self.folder}. Stop it, or give another folder.")
            yield

    @contextmanager
    def one_worker(self, stopped: Callable[[float], bool]) -> Iterator[bool]:
        """Hold the studies in `working`, once no other worker does; False where `stopped`, which waits, said so."""
        with (self.folder / "worker.lock").open("w") as file:
            while not (held := _locked_at_once(file)) and not stopped(LOOK_S):
                pass
            yield held

    def add(self, study_uid: str, sop_uid: str, content: bytes) -> None:
        """Keep one DICOM file; the same file again takes its place."""
        with written_atomically(self._in("incoming", uid_key(study_uid)) / "files" / f"{uid_key(sop_uid)}.dcm") as path:
            path.write_bytes(content)

    def knows(self, study_uid: str, sop_uids: list[str]) -> bool:
        """Whether exactly these files of a study were read, or given up."""
        return self._is_known(uid_key(study_uid), _digest(f"{uid_key(uid)}.dcm" for uid in sop_uids))

    def drop(self, key: str) -> None:
        """Forget what has come of a study whose rest the archive does not give."""
        if key:
            self._remove(self._in("incoming", key))
        self.audit.write("not given", key)

    def settle(self, stable_s: float, but: str = "") -> None:
        """Queue each study, `but` one, of which nothing has arrived for `stable_s` seconds.

        What was read before is dropped. What was given up for no fault of its own is tried again, with what came late.
        """
        for folder in sorted(self._in("incoming").iterdir()):
            if folder.name != but and time.time() - _newest(folder) >= stable_s:
                try:
                    self._queue(folder)
                except OSError as error:  # the disk is full, or a file arrived just now
                    logger.error("a study could not be queued: %s. It is tried again.", error.strerror)

    def _queue(self, folder: Path) -> None:
        key = folder.name
        if not (folder / "files").is_dir():
            return
        if self._in("ready", key).exists() or self._in("working", key).exists():
            return  # it is read first, then this
        for path in (folder / "files").glob(".*"):
            path.unlink(missing_ok=True)  # half written: of a killed process, or of one that has just renamed it
        files, more = _names(folder), self._given_up_blameless(key)
        digest = _digest(files | more)
        if self._is_known(key, digest):
            self._remove(folder)
            self.audit.write("again" if self._try_again(key, digest) else "known", key, files=len(files))
            return
        for name in sorted(more - files):  # a kill in between changes nothing: both folders together stay as they are
            (self._in("dead", key) / "files" / name).rename(folder / "files" / name)
        self._remove(self._in("dead", key))
        write_json(folder / STATE, {"digest": digest, "attempts": 0, "read": False, "not_before": 0.0})
        folder.rename(self._in("ready", key))
        self.audit.write("queued", key, files=len(files | more))

    def _given_up_blameless(self, key: str) -> set[str]:
        """Files of a study that was given up for no fault of its own: what comes late is read together with them."""
        dead = self._in("dead", key)
        return _names(dead) if _json(dead / REASON).get("kind") in BLAMELESS else set()

    def _try_again(self, key: str, digest: str) -> bool:
        """Queue a study that was given up for no fault of its own: what was read or sent is not read or sent again."""
        dead = self._in("dead", key)
        if _state(dead).get("digest") != digest or _json(dead / REASON).get("kind") not in BLAMELESS:
            return False
        write_json(dead / STATE, _state(dead) | {"attempts": 0, "not_before": 0.0})
        dead.rename(self._in("ready", key))
        return True

    def claim(self) -> QueuedStudy | None:
        """Take the study that has waited longest; one that failed waits a pause first. None if there is none."""
        waiting = [(state["not_before"], folder) for folder in self._in("ready").iterdir() if (state := _state(folder))]
        due = sorted((before, folder.stat().st_mtime, folder) for before, folder in waiting if before <= time.time())
        if not due:
            return None
        key = due[0][2].name
        working = self._in("working", key)
        due[0][2].rename(working)
        state = _state(working)
        state["attempts"] += 1
        write_json(working / STATE, state)
        self.audit.write("started", key, attempt=state["attempts"])
        done = state["read"], tuple(state.get("sent", []))
        return QueuedStudy(key, working, self._in("results", key), state["digest"], state["attempts"], *done)

    def was_read(self, study: QueuedStudy) -> None:
        """Note that the results are there: after a failure to send them, nothing is read again."""
        write_json(study.folder / STATE, _state(study.folder) | {"read": True})
        self.audit.write("read", study.key)

    def was_sent(self, study: QueuedStudy, target: str) -> None:
        """Note that one target has the results: after a failure at another they are not sent there again."""
        state = _state(study.folder)
        write_json(study.folder / STATE, state | {"sent": [*state.get("sent", []), target]})

    def finish(self, study: QueuedStudy, sent: list[str]) -> None:
        """The study is done: its files go, what is kept names nobody."""
        write_json(self._in("done") / f"{study.key}.json", {"digest": study.digest})
        self._clear(study.folder)
        self.audit.write("done", study.key, sent=sent)

    def fail(self, study: QueuedStudy, reason: dict[str, Any], *, again: bool) -> None:
        """Try a study again later, or give it up: at once, or after the limit."""
        if again and study.attempts <= self._retries:
            before = time.time() + self._pause_s * 2 ** (study.attempts - 1)
            write_json(study.folder / STATE, _state(study.folder) | {"not_before": before})
            study.folder.rename(self._in("ready", study.key))
            self.audit.write("failed", study.key, kind=reason["kind"], attempt=study.attempts)
            return
        self._give_up(study.folder, reason)

    def _give_up(self, folder: Path, reason: dict[str, Any]) -> None:
        dead = self._in("dead", folder.name)
        self._remove(dead)
        write_json(folder / REASON, reason)
        folder.rename(dead)
        self.audit.write("dead", folder.name, kind=reason["kind"])

    def recover(self) -> None:
        """Queue again what a killed worker had in its hands; what killed it too often is given up.

        For who holds `one_worker`: a worker whose service was killed finishes the study in its hands.
        """
        for folder in self._in("trash").iterdir():
            shutil.rmtree(folder, ignore_errors=True)
        for path in self._in("results").glob("*/*.dcm"):
            held = (self._in(name, path.parent.name) for name in ("dead", "ready", "working"))  # as studies go
            if not any(folder.exists() for folder in held):
                path.unlink()  # of a study that somebody removed after it was given up
        for folder in sorted(self._in("working").iterdir()):
            state = _state(folder)
            if self._is_known(folder.name, state.get("digest", "")):
                self._clear(folder)  # killed between the last two steps
            elif state.get("attempts", 0) > self._retries or "digest" not in state:
                problem = f"the worker ended {state.get('attempts', 'some')} times while it read this study"
                self._give_up(folder, {"kind": "unexpected", "problem": problem})
            else:
                folder.rename(self._in("ready", folder.name))
                self.audit.write("recovered", folder.name, attempt=state.get("attempts", 0))

    def _clear(self, working: Path) -> None:
        """Remove what names the patient of a study that is done."""
        for path in self._in("results", working.name).glob("*.dcm"):
            path.unlink()
        self._remove(working)

    def _remove(self, folder: Path) -> None:
        """Delete a folder, if it is there: at once for all who look, whenever this process is killed."""
        trash = Path(tempfile.mkdtemp(dir=self._in("trash")))
        if folder.exists():
            folder.rename(trash / folder.name)
        shutil.rmtree(trash, ignore_errors=True)  # what stays goes when a worker starts

    def given_up(self) -> dict[str, int]:
        """Keys of the studies that were given up, and when, by the file's clock: one that was tried again is later."""
        return {folder.name: _written_ns(folder / REASON) for folder in self._in("dead").iterdir()}

    def idle(self) -> bool:
        """Whether nothing arrives, waits or is being read."""
        return not any(any(self._in(name).iterdir()) for name in ("incoming", "ready", "working"))

    def _is_known(self, key: str, digest: str) -> bool:
        done, dead = self._in("done") / f"{key}.json", self._in("dead", key)
        return digest in [
            *([read_json(done)["digest"]] if done.is_file() else []),
            *([_state(dead).get("digest")] if dead.is_dir() else []),
        ]

    def _in(self, state: str, *key: str) -> Path:
        return self.folder.joinpath(state, *key)


def _locked_at_once(file: IO[str]) -> bool:
    """Lock a file until it is closed, or this process ends; False where another process has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _newest(folder: Path) -> float:
    """When the last file arrived, or now where one is just being renamed."""
    try:
        return max(path.stat().st_mtime for path in [folder, *folder.rglob("*")])
    except FileNotFoundError:
        return time.time()


def _written_ns(path: Path) -> int:
    """When a file was written; 0 where it is gone."""
    try:
        return path.stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _names(folder: Path) -> set[str]:
    """Names of a study's DICOM files; none where it is gone."""
    files = folder / "files"
    return {path.name for path in files.iterdir()} if files.is_dir() else set()


def _state(folder: Path) -> dict[str, Any]:
    """What a folder says of itself; empty where it is gone."""
    return _json(folder / STATE)


def _json(path: Path) -> dict[str, Any]:
    """What a file holds; empty where there is none."""
    try:
        return read_json(path)
    except (OSError, ValueError):
        return {}


def _digest(names: Iterable[str]) -> str:
    return sha256_of_json(sorted(names))
