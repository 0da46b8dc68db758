"""The parent run: kept until something changes, shared by folds that start at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from cpmn.files import read_json, write_json
from cpmn.track.parent import track_of

pytestmark = pytest.mark.xdist_group("mlflow")


def test_a_parent_is_kept_until_data_settings_or_code_change(folder):
    first = folder.track()["run_id"]
    assert folder.track()["run_id"] == first
    changes = ("data_hash", "config_hash", "commit", "code")
    found = {folder.track(**{key: "other"})["run_id"] for key in changes}
    assert len(found | {first}) == 5


def test_switched_off_nothing_is_sent_and_switched_on_again_the_run_goes_on(folder):
    first = folder.track()["run_id"]
    assert folder.track(enabled=False)["run_id"] is None
    assert folder.track()["run_id"] == first


def test_a_run_that_nothing_will_finish_is_ended(folder):
    client, first = folder.client(), folder.track()["run_id"]
    assert client.get_run(first).info.status == "RUNNING"
    second = folder.track(commit="other")["run_id"]
    assert client.get_run(first).info.status == "KILLED"
    client.set_terminated(second)
    folder.track(commit="third")
    assert client.get_run(second).info.status == "FINISHED"


def test_folds_that_start_at_once_share_one_parent(folder):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: folder.track()["run_id"], range(8)))
    assert len(set(found)) == 1
    assert found[0] is not None
    assert len(folder.runs()) == 1


def test_a_parent_that_was_created_too_late_to_be_noted_is_found(folder):
    track = folder.track()
    write_json(folder.results / "track.json", track | {"run_id": None, "experiment_id": None})
    assert folder.track()["run_id"] == track["run_id"]


def test_a_cohort_may_have_an_apostrophe(folder):
    track = folder.track(cohort="O'Brien's chests")
    assert track["run_id"]
    assert folder.track(cohort="O'Brien's chests")["run_id"] == track["run_id"]


def test_a_server_that_is_down_is_not_asked_by_every_fold(folder, monkeypatch):
    asked = []
    with monkeypatch.context() as patch:
        patch.setattr("cpmn.track.parent.start_parent", lambda track: asked.append(track) or 1 / 0)
        for _ in range(3):
            assert folder.track()["run_id"] is None
    assert len(asked) == 1
    monkeypatch.setattr("cpmn.track.parent.RETRY_SECONDS", 0)
    assert folder.track()["run_id"] is not None


def test_configuration_becomes_a_track_with_the_cohort_as_data_set(folder):
    track = track_of({"phantom": {"patients": 8}}, folder.results / "track.json")
    assert read_json(folder.results / "track.json") == track
    (used,) = folder.client().get_run(track["run_id"]).inputs.dataset_inputs
    assert used.dataset.name == "phantom-learnable"
    assert track["data_hash"].startswith(used.dataset.digest)
    assert track["profile"]["patients"] == 8
    assert track["profile"]["pe"] + track["profile"]["no_pe"] == 8


def test_changes_that_are_not_committed_make_another_parent(folder, monkeypatch):
    monkeypatch.setattr("cpmn.job.identity.code_version", lambda _: "abc+changes")
    monkeypatch.setattr("cpmn.track.parent.sha256_of_files", lambda _: "one state")
    first = track_of({}, folder.results / "track.json")["run_id"]
    monkeypatch.setattr("cpmn.track.parent.sha256_of_files", lambda _: "another")
    assert track_of({}, folder.results / "track.json")["run_id"] != first
