"""One study in the worker's hands: read, sent, tried again or given up."""

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pydicom
import pytest

from cpmn.errors import CpmnError, PatientError
from cpmn.files import read_json
from cpmn.watch.audit import Audit
from cpmn.watch.http import ArchiveError
from cpmn.watch.sending import sender
from cpmn.watch.service import watch
from cpmn.watch.spool import Spool
from cpmn.watch.worker import Read, Work, model_reader, serve
from tests.conftest import ROOT
from tests.dicom.conftest import write_series as write_series  # a fixture
from tests.predict.conftest import bright_spot as bright_spot  # a fixture
from tests.predict.conftest import chest_series
from tests.predict.conftest import results as results  # a fixture


class Reader:
    """Writes one file; fails as it is told."""

    def __init__(self, *errors: Exception):
        self.calls, self._errors = 0, list(errors)

    def __call__(self, files, output):
        self.calls += 1
        output.mkdir(exist_ok=True)
        if self._errors:
            raise self._errors.pop(0)
        (output / "prediction.dcm").write_bytes(b"DICM")


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path, retries=1, pause_s=0.0)
    spool.add("1.2", "1.2.1", b"DICM")
    spool.settle(0.0)
    return spool


def work(spool, read, send=lambda paths: None):
    while study := spool.claim():
        serve(spool, study, read, {"A@b:1": send})


def reason(spool):
    (dead,) = (spool.folder / "dead").iterdir()
    return json.loads((dead / "reason.json").read_text())


def test_results_are_sent(spool):
    sent = []
    work(spool, Reader(), lambda paths: sent.extend(path.name for path in paths))
    assert sent == ["prediction.dcm"]
    assert spool.idle()


def test_an_archive_that_is_away_is_tried_again_without_reading_again(spool):
    read, away = Reader(), [ArchiveError("away")]

    def send(paths):
        if away:
            raise away.pop()

    work(spool, read, send)
    assert read.calls == 1
    assert spool.knows("1.2", ["1.2.1"])
    assert not list((spool.folder / "dead").iterdir())


def test_an_archive_that_stays_away_leaves_a_reason(spool):
    def send(paths):
        raise ArchiveError("http://a does not answer")

    work(spool, Reader(), send)
    assert reason(spool) == {"kind": "archive", "problem": "http://a does not answer"}


def test_one_target_that_stays_away_keeps_nothing_from_the_others_and_sent_again_it_gets_its_own(spool):
    away, sent, read = [True], [], Reader()

    def absent(paths):
        if away:
            raise ArchiveError("away")
        sent.append("first")

    targets = {"A@a:1": absent, "B@b:1": lambda paths: sent.append("second")}
    while study := spool.claim():
        serve(spool, study, read, targets)
    assert sent == ["second"]
    assert reason(spool)["kind"] == "archive"
    away.clear()
    spool.add("1.2", "1.2.1", b"DICM")  # the archive sends the study once more
    spool.settle(0.0)
    while study := spool.claim():
        serve(spool, study, read, targets)
    assert sent == ["second", "first"]
    assert read.calls == 1
    assert spool.idle()
    assert not spool.given_up()


def test_a_scan_that_could_not_be_read_is_not_tried_when_it_comes_again(spool):
    read = Reader(PatientError("Doe", "no lungs", "Give a chest."))
    work(spool, read)
    spool.add("1.2", "1.2.1", b"DICM")
    spool.settle(0.0)
    work(spool, read)
    assert read.calls == 1
    assert spool.given_up()


def test_a_scan_that_cannot_be_read_is_not_tried_again(spool):
    read = Reader(PatientError("Doe", "no lungs", "Give a chest."), RuntimeError("Doe"))
    work(spool, read)
    assert read.calls == 1
    assert "Doe" not in json.dumps(reason(spool))


def test_a_fault_of_the_software_is_tried_again_and_quotes_nothing(spool):
    read = Reader(RuntimeError("Doe^Jane"), RuntimeError("Doe^Jane"))
    work(spool, read)
    assert read.calls == 2
    assert reason(spool) == {"kind": "unexpected", "problem": "RuntimeError"}


@pytest.mark.parametrize(
    "target", ["", "CPMN", "ARCHIVE@host", "stow:ftp://host", "file:///etc", "A@h:port", "orthanc:x"]
)
def test_a_target_of_no_known_form(target):
    with pytest.raises(CpmnError, match="is no target"):
        sender(target, title="CPMN")


def test_a_study_is_read_by_the_model_and_named_for_the_archive(write_series, results, bright_spot, tmp_path):
    spool = Spool(tmp_path / "spool")
    for number, path in enumerate(chest_series(write_series).iterdir()):
        spool.add("1.2", f"1.2.{number}", path.read_bytes())
    spool.settle(0.0)
    sent = []
    options = {"device": "cpu", "targets": (), "title": "CPMN", "identity": True, "retries": 0, "pause_s": 0.0}
    read = model_reader(Work(spool.folder, results, "cpmn", **options))
    work(spool, read, lambda paths: sent.extend((path.name, pydicom.dcmread(path).PatientName) for path in paths))
    assert sent == [(name, "Doe^Jane") for name in ("overview.dcm", "prediction.dcm", "report.dcm")]
    (kept,) = (spool.folder / "results").iterdir()
    assert read_json(kept / "prediction.json")["decision"] == "PE"
    assert "Doe" not in (kept / "prediction.json").read_text()


def slow_reader(work: Work) -> Read:
    """What a worker reads with, in its own process: for two seconds, leaving a file."""

    def read(files: Path, output: Path) -> None:
        output.mkdir(parents=True, exist_ok=True)
        with (output / "readings").open("a") as stream:
            stream.write("read\n")
        time.sleep(2)

    return read


def serve_slowly(folder: str) -> None:
    """A service of its own in `folder`, until everything there is read."""
    work = Work(Path(folder), "", "cpmn", "cpu", (), "CPMN", False, 3, 0.0)
    watch(work, stable_s=0.0, once=True, reader=slow_reader)


def test_a_study_is_read_once_though_its_service_is_killed(tmp_path):
    """SIGKILL of the service alone: its worker finishes the study, and the next service's waits for that."""
    spool = Spool(tmp_path)
    for study in ("1.1", "1.2"):
        spool.add(study, f"{study}.1", b"DICM")
    code = "from tests.watch.test_worker import serve_slowly; import sys; serve_slowly(sys.argv[1])"
    first = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("results/*/readings")) and time.monotonic() < deadline:
        time.sleep(0.05)
    first.kill()
    first.wait()
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, timeout=100, check=True)
    assert [path.read_text() for path in tmp_path.glob("results/*/readings")] == ["read\n"] * 2
    told = [json.loads(line)["event"] for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert told.count("done") == 2
    assert "recovered" not in told


def ending_reader(work: Work) -> Read:
    """Ends the worker at its first start, and reads nothing at the second."""
    ended = work.folder / "ended"
    if not ended.exists():
        ended.touch()
        os._exit(1)
    return lambda files, output: output.mkdir()


def test_a_disk_that_is_full_when_the_worker_ends_does_not_end_the_service(tmp_path, monkeypatch, caplog):
    spool = Spool(tmp_path)
    spool.add("1.2", "1.2.1", b"DICM")
    write, full = Audit.write, [OSError(errno.ENOSPC, "No space left on device", "/spool/Doe")]

    def refused(self, event, *study, **facts):
        if event == "worker ended" and full:
            raise full.pop()
        write(self, event, *study, **facts)

    monkeypatch.setattr(Audit, "write", refused)
    work = Work(tmp_path, "", "cpmn", "cpu", (), "CPMN", False, 3, 0.0)
    assert watch(work, stable_s=0.0, once=True, reader=ending_reader) == 0
    assert "could not be started: No space left on device" in caplog.text
    assert "Doe" not in caplog.text


def failing_reader(work: Work) -> Read:
    """Reads nothing, for no fault of the scan."""

    def read(files: Path, output: Path) -> None:
        raise RuntimeError

    return read


def test_a_study_that_is_given_up_once_more_is_counted(tmp_path):
    work = Work(tmp_path, "", "cpmn", "cpu", (), "CPMN", False, 0, 0.0)
    for sent in (True, True, False):
        if sent:
            Spool(tmp_path).add("1.2", "1.2.1", b"DICM")
        assert watch(work, stable_s=0.0, once=True, reader=failing_reader) == int(sent)
    assert len(Spool(tmp_path).given_up()) == 1
