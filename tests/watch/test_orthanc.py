"""A real Orthanc: studies come from it and results go back, whatever happens to the worker."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from cpmn.watch.http import ArchiveError
from cpmn.watch.orthanc import TRIES, Orthanc
from cpmn.watch.service import take_in
from cpmn.watch.spool import Spool
from tests.conftest import ROOT
from tests.dicom.conftest import write_series as write_series  # a fixture
from tests.predict.conftest import chest_series

STUDIES = 20


def own_network() -> bool:
    unshare = shutil.which("unshare")
    return bool(unshare) and subprocess.run([unshare, "-n", "true"], capture_output=True).returncode == 0


@pytest.mark.slow
def test_twenty_studies_and_a_worker_that_is_killed_three_times(write_series, tmp_path):
    if not shutil.which("Orthanc"):
        pytest.skip("Orthanc is not installed: apt-get install orthanc")
    if not own_network():
        pytest.skip("no network namespace can be made here (unshare -n needs root)")
    for number in range(STUDIES):
        tags: dict[str, Any] = {"SeriesInstanceUID": f"1.9.{number}", "PatientID": f"P{number}", "StudyTime": "0900"}
        chest_series(write_series, f"studies/{number}", study=f"1.8.{number}", **tags)
    files = sum(path.is_file() for path in (tmp_path / "studies").rglob("*"))
    command = ["unshare", "-n", sys.executable, str(Path(__file__).parent / "scenario.py"), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr + (tmp_path / "watch.log").read_text()
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["stopped"], found["again"]) == (0, 0)
    assert found["series"] == {"CT": STUDIES, "SEG": STUDIES, "SR": STUDIES, "OT": STUDIES}
    assert found["instances"] == files + 3 * STUDIES
    assert found["events"]["worker ended"] == 3
    assert found["events"]["done"] == STUDIES
    assert not list((tmp_path / "spool/dead").iterdir())
    kept = [path.name for path in (tmp_path / "spool/results").rglob("*.dcm")]
    assert kept == []
    log = (tmp_path / "spool/audit.jsonl").read_text() + (tmp_path / "watch.log").read_text()
    assert not any(secret in log for secret in ("Doe", "1.8.1", "1.9.1"))


STUDY, SERIES, FIRST, SECOND = ("-".join([digit * 8] * 5) for digit in "1234")
PAGES = {
    "/system": {"DatabaseServerIdentifier": "one"},
    "/changes": {"Changes": [{"ChangeType": "StableStudy", "ID": STUDY, "Seq": 7}], "Done": True, "Last": 7},
    f"/studies/{STUDY}": {"Series": [SERIES], "MainDicomTags": {"StudyInstanceUID": "1.2"}},
    f"/series/{SERIES}": {"MainDicomTags": {"Modality": "CT"}, "Instances": [FIRST, SECOND]},
    f"/instances/{FIRST}": {"ID": FIRST, "MainDicomTags": {"SOPInstanceUID": "1.2.1"}},
    f"/instances/{SECOND}": {"ID": SECOND, "MainDicomTags": {"SOPInstanceUID": "1.2.2"}},
}


@pytest.fixture
def archive(monkeypatch):
    """What an Orthanc answers, by path, and the instances that it does not give; what it was asked for."""
    pages, lost, asked = dict(PAGES), set(), []

    def request(url: str) -> bytes:
        if any(identifier in url for identifier in lost):
            raise ArchiveError("http://o answered 500.")
        return b"DICM"

    def request_json(url: str) -> Any:
        asked.append(url)
        return pages[url.removeprefix("http://o").split("?")[0]]

    monkeypatch.setattr("cpmn.watch.orthanc.request_json", request_json)
    monkeypatch.setattr("cpmn.watch.orthanc.request", request)
    return pages, lost, asked


def test_half_of_a_study_is_not_queued(archive, tmp_path):
    """The archive goes away while a study is fetched, and comes back; what came by itself meanwhile is read."""
    spool, (_, lost, _) = Spool(tmp_path), archive
    lost.add(SECOND)
    source = Orthanc("http://o", spool)
    spool.add("1.9", "1.9.1", b"DICM")
    assert not take_in(spool, source, 0.0)
    sent = spool.claim()
    assert sent is not None
    assert len(list(sent.files.iterdir())) == 1
    assert spool.claim() is None
    source = Orthanc("http://o", spool)  # the service starts again, and the archive is away altogether
    system = archive[0].pop("/system")
    assert not take_in(spool, source, 0.0)
    assert spool.claim() is None
    archive[0]["/system"] = system
    lost.clear()
    assert take_in(spool, source, 0.0)
    study = spool.claim()
    assert study is not None
    assert len(list(study.files.iterdir())) == 2


def test_a_study_that_is_listed_and_not_given_does_not_keep_the_others_waiting(archive, tmp_path):
    spool, (_, lost, _) = Spool(tmp_path), archive
    lost.add(SECOND)
    source = Orthanc("http://o", spool)
    given = [take_in(spool, source, 0.0) for _ in range(TRIES)]
    assert given == [False] * (TRIES - 1) + [True]
    assert spool.idle()
    assert "not given" in (tmp_path / "audit.jsonl").read_text()


@pytest.mark.parametrize(
    ("changes", "since"),
    [
        ({}, 7),
        ({"/system": {"DatabaseServerIdentifier": "two"}}, 0),
        ({"/system": {}, "/changes": {"Changes": [], "Done": True, "Last": 3}}, 0),
    ],
    ids=["the same", "another", "counts anew"],
)
def test_changes_are_read_from_the_start_where_the_server_is_another(archive, tmp_path, changes, since):
    pages, _, asked = archive
    if changes.get("/system") == {}:
        pages["/system"] = {}  # Orthanc before 1.11 says no identifier
    Orthanc("http://o", Spool(tmp_path)).poll()
    pages |= changes
    Orthanc("http://o", Spool(tmp_path)).poll()
    assert f"since={since}&" in [url for url in asked if "since" in url][-1]


def test_studies_that_are_there_already_are_passed_over_if_asked(archive, tmp_path):
    asked = archive[2]
    spool = Spool(tmp_path)
    Orthanc("http://o", spool, new_only=True).poll()
    archive[0]["/changes"] = archive[0]["/changes"] | {"Last": 9}
    Orthanc("http://o", spool, new_only=True).poll()  # started again, it passes over nothing more
    assert [url for url in asked if "since=9" in url] == []
    assert "since=7&" in next(url for url in asked if "since" in url)


def test_what_a_second_server_holds_already_is_passed_over_if_asked(archive, tmp_path):
    pages, _, asked = archive
    Orthanc("http://o", Spool(tmp_path), new_only=True).poll()
    pages |= {"/system": {"DatabaseServerIdentifier": "two"}, "/changes": pages["/changes"] | {"Last": 9}}
    Orthanc("http://o", Spool(tmp_path), new_only=True).poll()
    assert "since=9&" in [url for url in asked if "since" in url][-1]


def test_a_server_that_counts_anew_is_no_new_one(archive, tmp_path):
    pages, _, asked = archive
    Orthanc("http://o", Spool(tmp_path), new_only=True).poll()
    pages["/changes"] = {"Changes": [], "Done": True, "Last": 3}
    Orthanc("http://o", Spool(tmp_path), new_only=True).poll()
    assert "since=0&" in [url for url in asked if "since" in url][-1]


def test_an_identifier_that_is_none_of_orthancs_never_gets_into_an_address(tmp_path, monkeypatch):
    pages = {
        "Changes": [{"ChangeType": "StableStudy", "ID": "../../tools/shutdown", "Seq": 1}],
        "Done": True,
        "Last": 1,
    }
    monkeypatch.setattr("cpmn.watch.orthanc.request_json", lambda url: pages)
    with pytest.raises(ArchiveError, match="none of its own"):
        Orthanc("http://orthanc", Spool(tmp_path)).poll()


def test_a_full_disk_is_tried_again_and_names_nobody(archive, tmp_path, monkeypatch, caplog):
    spool = Spool(tmp_path)
    source = Orthanc("http://o", spool)
    full = OSError(errno.ENOSPC, "No space left on device", "/spool/Doe")
    with monkeypatch.context() as patch:
        patch.setattr(spool, "add", Mock(side_effect=full))
        assert not take_in(spool, source, 0.0)
    with monkeypatch.context() as patch:  # full again when everything has come, and is to be noted
        write = Mock(side_effect=[None, full])
        patch.setattr("cpmn.watch.orthanc.write_json", write)
        assert not take_in(spool, source, 0.0)
        assert write.call_count == 2
    assert spool.claim() is None
    assert take_in(spool, source, 0.0)
    assert spool.claim() is not None
    assert "No space left" in caplog.text
    assert "Doe" not in caplog.text


@pytest.mark.parametrize("page", [{"Done": True}, [], {"Changes": [{"ChangeType": "StableStudy"}]}])
def test_an_answer_of_something_else_than_orthanc_is_tried_again(tmp_path, monkeypatch, page):
    monkeypatch.setattr("cpmn.watch.orthanc.request_json", lambda url: page)
    assert not take_in(Spool(tmp_path), Orthanc("http://proxy", Spool(tmp_path)), 0.0)
