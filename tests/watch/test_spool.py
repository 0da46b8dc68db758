"""The queue on disk: what becomes of a study at every step, and of a process that is killed between two."""

import errno
import json
import shutil
import time
from pathlib import Path

import pytest

from cpmn.errors import CpmnError
from cpmn.watch.spool import Spool


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool", retries=2, pause_s=0.0)


def arrive(spool: Spool, study: str = "1.2", files=("1.2.1", "1.2.2")) -> None:
    for uid in files:
        spool.add(study, uid, b"DICM")
    spool.settle(0.0)


def events(spool: Spool) -> list[str]:
    return [json.loads(line)["event"] for line in (spool.folder / "audit.jsonl").read_text().splitlines()]


def claimed(spool: Spool):
    study = spool.claim()
    assert study is not None
    return study


def test_a_study_is_read_once_it_is_stable(spool):
    spool.add("1.2", "1.2.1", b"DICM")
    spool.settle(60.0)
    assert spool.claim() is None
    spool.settle(0.0)
    study = claimed(spool)
    assert [path.read_bytes() for path in study.files.iterdir()] == [b"DICM"]
    assert spool.claim() is None
    spool.finish(study, ["store"])
    assert spool.idle()
    assert events(spool) == ["queued", "started", "done"]


def test_the_same_study_twice_is_one_result(spool):
    arrive(spool)
    spool.finish(claimed(spool), [])
    arrive(spool)
    assert spool.claim() is None
    assert spool.knows("1.2", ["1.2.2", "1.2.1"])
    arrive(spool, files=("1.2.1", "1.2.2", "1.2.3"))  # it has grown: another study to read
    assert claimed(spool).attempts == 1


def test_what_arrives_while_it_is_read_waits(spool):
    arrive(spool)
    first = claimed(spool)
    arrive(spool, files=("1.2.1", "1.2.2", "1.2.3"))
    assert spool.claim() is None
    spool.finish(first, [])
    spool.settle(0.0)
    assert claimed(spool).key == first.key


def test_a_failure_is_tried_again_up_to_the_limit(spool):
    arrive(spool)
    for attempt in (1, 2, 3):
        study = claimed(spool)
        assert study.attempts == attempt
        spool.fail(study, {"kind": "data", "problem": "odd"}, again=True)
    assert spool.claim() is None
    (dead,) = (spool.folder / "dead").iterdir()
    assert json.loads((dead / "reason.json").read_text())["problem"] == "odd"
    arrive(spool)
    assert spool.claim() is None  # it is known to fail


def test_a_failure_waits_before_it_is_tried_again(tmp_path):
    spool = Spool(tmp_path, retries=2, pause_s=60.0)
    arrive(spool)
    spool.fail(claimed(spool), {"kind": "archive"}, again=True)
    assert spool.claim() is None
    (folder,) = (tmp_path / "ready").iterdir()
    assert 50 < json.loads((folder / "state.json").read_text())["not_before"] - time.time() <= 60


def test_a_scan_at_fault_is_given_up_at_once(spool):
    arrive(spool)
    spool.fail(claimed(spool), {"kind": "scan", "problem": "no lungs"}, again=False)
    assert (spool.folder / "dead").is_dir()
    assert events(spool)[-1] == "dead"


def test_a_late_file_of_a_study_that_was_given_up_blameless_is_read_with_all_others(spool):
    arrive(spool)
    spool.fail(claimed(spool), {"kind": "archive"}, again=False)
    arrive(spool, files=("1.2.3",))
    study = claimed(spool)
    assert len(list(study.files.iterdir())) == 3
    assert not study.read
    spool.finish(study, [])
    assert spool.knows("1.2", ["1.2.1", "1.2.2", "1.2.3"])
    assert not spool.given_up()


def test_a_part_of_a_study_that_was_given_up_blameless_tries_all_of_it_again(spool):
    arrive(spool)
    study = claimed(spool)
    spool.was_read(study)
    spool.fail(study, {"kind": "archive"}, again=False)
    arrive(spool, files=("1.2.2",))
    study = claimed(spool)
    assert len(list(study.files.iterdir())) == 2
    assert study.read


def test_killed_while_a_late_file_joins_its_study(spool, monkeypatch):
    arrive(spool, files=("1.2.1", "1.2.2", "1.2.3"))
    spool.fail(claimed(spool), {"kind": "machine"}, again=False)
    rename, moved = Path.rename, []

    def killed(self, target):
        if self.suffix == ".dcm" and moved:
            raise KeyboardInterrupt
        moved.append(self)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        arrive(spool, files=("1.2.4",))
    monkeypatch.undo()
    spool.settle(0.0)
    assert len(list(claimed(spool).files.iterdir())) == 4


def test_a_late_file_of_a_study_at_fault_is_read_alone(spool):
    arrive(spool)
    spool.fail(claimed(spool), {"kind": "scan"}, again=False)
    arrive(spool, files=("1.2.3",))
    assert len(list(claimed(spool).files.iterdir())) == 1


def test_what_a_killed_process_had_in_its_hands_is_queued_again(spool):
    arrive(spool)
    claimed(spool)
    spool.recover()
    study = claimed(spool)
    assert study.attempts == 2
    spool.was_read(study)
    spool.recover()
    assert claimed(spool).read  # it is sent, not read again


def test_what_kills_the_worker_too_often_is_given_up(spool):
    arrive(spool)
    for _ in range(3):
        claimed(spool)
        spool.recover()
    assert spool.claim() is None
    assert [path.name for path in (spool.folder / "dead").rglob("reason.json")] == ["reason.json"]


def test_killed_between_the_note_and_the_clearing(spool, monkeypatch):
    arrive(spool)
    study = claimed(spool)
    monkeypatch.setattr("cpmn.watch.spool.shutil.rmtree", lambda *_a, **_o: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        spool.finish(study, [])
    monkeypatch.undo()
    spool.recover()
    assert spool.idle()


@pytest.fixture
def killed_while_deleting(monkeypatch):
    """A process that deletes ends with the first file that `pattern` names."""

    def kill(pattern: str):
        def rmtree(folder, **_options):
            next(folder.rglob(pattern)).unlink()
            raise KeyboardInterrupt

        monkeypatch.setattr("cpmn.watch.spool.shutil.rmtree", rmtree)

    return kill


def test_killed_while_a_known_study_is_deleted_its_rest_is_no_other_study(spool, killed_while_deleting, monkeypatch):
    arrive(spool)
    spool.finish(claimed(spool), [])
    killed_while_deleting("*.dcm")
    with pytest.raises(KeyboardInterrupt):
        arrive(spool)
    monkeypatch.undo()
    spool.recover()
    spool.settle(0.0)
    assert spool.idle()
    assert spool.knows("1.2", ["1.2.1", "1.2.2"])
    assert not list(spool.folder.glob("trash/*"))


def test_killed_while_a_study_that_is_done_is_deleted_it_is_not_given_up(spool, killed_while_deleting, monkeypatch):
    arrive(spool)
    study = claimed(spool)
    killed_while_deleting("state.json")
    with pytest.raises(KeyboardInterrupt):
        spool.finish(study, [])
    monkeypatch.undo()
    spool.recover()
    assert not spool.given_up()
    assert not list(spool.folder.rglob("*.dcm"))


def test_a_file_that_is_complete_just_when_its_study_is_queued(spool, monkeypatch):
    glob = Path.glob
    late = ".writing-1-x.dcm"  # is renamed between the look and the deletion
    monkeypatch.setattr(Path, "glob", lambda self, name: [self / late] if name == ".*" else glob(self, name))
    arrive(spool)
    assert claimed(spool).attempts == 1


def test_a_study_that_cannot_be_queued_is_tried_again_and_keeps_no_other_waiting(spool, monkeypatch, caplog):
    rename = Path.rename

    def refused(self, target):
        if refusing and target.parent.name == "ready":
            raise refusing.pop()
        return rename(self, target)

    refusing = [OSError(errno.ENOTEMPTY, "Directory not empty", "/spool/Doe")]
    monkeypatch.setattr(Path, "rename", refused)
    spool.add("1.2", "1.2.1", b"DICM")
    arrive(spool, study="1.3", files=("1.3.1",))
    assert len(list((spool.folder / "ready").iterdir())) == 1
    assert "Directory not empty" in caplog.text
    assert "Doe" not in caplog.text
    spool.settle(0.0)
    assert len(list((spool.folder / "ready").iterdir())) == 2


def test_results_named_for_an_archive_are_not_kept(spool):
    arrive(spool)
    study = claimed(spool)
    study.results.mkdir()
    for name in ("prediction.json", "prediction.dcm"):
        (study.results / name).write_text("")
    spool.finish(study, [])
    assert [path.name for path in study.results.iterdir()] == ["prediction.json"]


def test_results_that_name_somebody_stay_no_longer_than_the_study(spool):
    keys = []
    for uid in ("1.2", "1.3"):
        arrive(spool, uid, (f"{uid}.1",))
        study = claimed(spool)
        study.results.mkdir()
        for name in ("prediction.json", "prediction.dcm"):
            (study.results / name).write_text("")
        spool.fail(study, {"kind": "data", "problem": "odd"}, again=False)
        keys.append(study.key)
    shutil.rmtree(spool.folder / "dead" / keys[0])  # as a person does who has seen to it
    spool.recover()
    kept = {path.relative_to(spool.folder / "results").as_posix() for path in spool.folder.glob("results/*/*")}
    assert kept == {f"{keys[0]}/prediction.json", f"{keys[1]}/prediction.json", f"{keys[1]}/prediction.dcm"}


@pytest.mark.parametrize("state", ["ready", "working"])
def test_results_of_a_study_that_goes_on_are_kept(spool, state):
    arrive(spool)
    study = claimed(spool)
    study.results.mkdir()
    (study.results / "prediction.dcm").write_text("")
    if state == "ready":
        spool.fail(study, {"kind": "data", "problem": "odd"}, again=True)
    spool.recover()
    assert (study.results / "prediction.dcm").exists()


def test_one_service_a_folder(spool):
    with spool.locked(), pytest.raises(CpmnError, match="another cpmn watch"), Spool(spool.folder).locked():
        pass


def test_names_and_log_hold_no_uid(spool):
    arrive(spool, study="1.2.276.0.99.2", files=("1.2.276.0.99.2.1",))
    spool.finish(claimed(spool), [])
    names = " ".join(str(path.relative_to(spool.folder)) for path in spool.folder.rglob("*"))
    assert "276" not in names + (spool.folder / "audit.jsonl").read_text()


def test_a_study_without_a_name_hurts_nobody(spool):
    (spool.folder / "incoming/files").mkdir()
    (spool.folder / "incoming/files/x.dcm").touch()
    arrive(spool)
    assert claimed(spool).attempts == 1


def test_what_a_kill_left_half_written_is_no_slice(spool):
    spool.add("1.2", "1.2.1", b"DICM")
    (folder,) = (spool.folder / "incoming").iterdir()
    (folder / "files/.writing-77-1.dcm").write_bytes(b"DI")
    spool.settle(0.0)
    study = claimed(spool)
    assert [path.read_bytes() for path in study.files.iterdir()] == [b"DICM"]
    spool.finish(study, [])
    assert spool.knows("1.2", ["1.2.1"])


def test_who_has_lost_its_state_is_given_up_and_stops_nobody(spool):
    arrive(spool)
    study = claimed(spool)
    (study.folder / "state.json").write_text('{"not_before": 0}')
    spool.recover()
    assert (spool.folder / "dead" / study.key / "reason.json").is_file()
    assert spool.claim() is None


def test_one_worker_a_folder(spool):
    """The second waits until the first is gone, or until it is told to stop."""
    waited = []
    with spool.one_worker(lambda _: False) as first:
        assert first
        with Spool(spool.folder).one_worker(lambda seconds: not waited.append(seconds)) as second:
            assert not second
    assert len(waited) == 1
    with Spool(spool.folder).one_worker(lambda _: False) as third:
        assert third
