"""One study in the worker's hands: read, sent, tried again or given up."""

import json

import pydicom
import pytest

from cpmn.errors import CpmnError, PatientError
from cpmn.files import read_json
from cpmn.watch.http import ArchiveError
from cpmn.watch.sending import sender
from cpmn.watch.spool import Spool
from cpmn.watch.worker import Work, model_reader, serve
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
