import errno
import os

import pytest
import torch

from cpmn.train.resume import STATE_FILE, ResumeFolder, resume_key


def test_key_follows_settings_and_contents(tmp_path):
    file, twin = tmp_path / "a", tmp_path / "b"
    file.write_text("1")
    twin.write_text("1")
    key = resume_key({"steps": 1}, {"p": [file]})
    assert key == resume_key({"steps": 1}, {"p": [twin]})
    twin.write_text("2")
    others = {
        resume_key({"steps": 2}, {"p": [file]}),
        resume_key({"steps": 1}, {"q": [file]}),
        resume_key({"steps": 1}, {"p": [twin]}),
    }
    assert len(others | {key}) == 4


def test_state_returns(tmp_path):
    folder = ResumeFolder(tmp_path, "k" * 64)
    assert folder.load() is None
    folder.save({"step": 3, "weights": torch.arange(3)})
    state = ResumeFolder(tmp_path, "k" * 64).load()
    assert state is not None
    assert state["step"] == 3
    assert state["weights"].tolist() == [0, 1, 2]
    assert [path.name for path in folder.current.iterdir() if path.is_file()] == [STATE_FILE]


def test_what_is_made_once_is_found_by_the_next(tmp_path):
    calls = []

    def make():
        calls.append(1)
        return {"median_spacing": (0.7, 0.7, 1.0 / 3), "clot_hu": None}

    first, second = (ResumeFolder(tmp_path, "k" * 64).once("fingerprint.json", make) for _ in range(2))
    assert first == second == {"median_spacing": [0.7, 0.7, 1.0 / 3], "clot_hu": None}
    assert len(calls) == 1
    assert ResumeFolder(tmp_path, "b" * 64).once("fingerprint.json", make) == first
    assert len(calls) == 2  # of other settings or data nothing is found


def test_another_key_starts_afresh_and_clears_away(tmp_path):
    first = ResumeFolder(tmp_path, "a" * 64)
    first.save({"step": 3})
    second = ResumeFolder(tmp_path, "b" * 64)
    assert second.load() is None
    assert first.load() == {"key": "a" * 64, "step": 3}  # should the second be refused, the first may still go on
    second.clear_others()
    assert not first.current.exists()
    assert second.current.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:700],
        lambda _data: b"",  # what power loss leaves of a file that was renamed before it was on disk
        lambda data: bytes(len(data)),
        lambda data: data[:-200] + bytes(200),
        lambda _data: b"not a state",
    ],
    ids=["cut", "empty", "zeros", "end of zeros", "text"],
)
def test_damaged_state_starts_afresh(tmp_path, caplog, damage):
    folder = ResumeFolder(tmp_path, "a" * 64)
    folder.save({"step": 3, "weights": torch.zeros(1000)})
    path = folder.current / STATE_FILE
    path.write_bytes(damage(path.read_bytes()))
    assert folder.load() is None
    assert "cannot be read" in caplog.text


def test_a_file_of_something_else_starts_afresh(tmp_path, caplog):
    folder = ResumeFolder(tmp_path, "a" * 64)
    torch.save([1, 2], folder.current / STATE_FILE)
    assert folder.load() is None
    assert "holds no training" in caplog.text


def test_state_is_never_executed(tmp_path, caplog):
    folder = ResumeFolder(tmp_path, "a" * 64)
    torch.save({"key": "a" * 64, "step": print}, folder.current / STATE_FILE)
    assert folder.load() is None
    assert "cannot be read" in caplog.text


def test_removed_on_success(tmp_path):
    folder = ResumeFolder(tmp_path / ".resume", "a" * 64)
    folder.save({"step": 3})
    folder.remove()
    assert not (tmp_path / ".resume").exists()


def test_what_cannot_be_removed_fails_no_finished_training(tmp_path, monkeypatch, caplog):
    """On NFS a file that is open gets another name, and its folder is not empty."""

    def refuse(path: str, **_options: object) -> None:
        raise OSError(errno.ENOTEMPTY, "Directory not empty", path)

    folder = ResumeFolder(tmp_path / ".resume", "a" * 64)
    folder.save({"step": 3})
    monkeypatch.setattr(os, "rmdir", refuse)
    folder.remove()
    assert not (folder.current / STATE_FILE).exists()
    assert ".resume cannot be removed whole" in caplog.text
