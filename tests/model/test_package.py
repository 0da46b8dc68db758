"""A model as one file: what it holds, that it stands alone, and that a file of another's making does no harm."""

import os
import shutil
import zipfile

import pytest

from cpmn.cli import main
from cpmn.errors import CpmnError
from cpmn.files import read_json, write_json
from cpmn.model.modelfiles import FolderFiles, ZippedFiles, find_model
from cpmn.model.package import export_model
from cpmn.model.seal import verified
from tests.predict.conftest import results as results  # a fixture

WHOLE = {"decision.json", "model_card.md", "LICENCE.txt"} | {
    f"fold-{fold}/{name}" for fold in range(2) for name in ("plan.json", "model.safetensors")
}


@pytest.fixture
def packed(results, tmp_path):
    """A model file, and nothing else left of the run."""
    path = tmp_path / "model.cpmn"
    assert main(["export", str(results), "-o", str(path), "--licence", "ask the hospital"]) == 0
    shutil.rmtree(results)
    return path


def rewritten(path, changes=None, extra=()):
    """The same archive with other contents of some members, or more of them."""
    target = path.with_name("other.cpmn")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = (changes or {}).get(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
        for name, content in extra:
            new.writestr(name, content)
    return target


def test_the_file_holds_the_model_and_nothing_else(packed):
    with zipfile.ZipFile(packed) as opened:
        assert set(opened.namelist()) == WHOLE
        assert "ask the hospital" in opened.read("LICENCE.txt").decode()
        card = opened.read("model_card.md").decode()
        seal = verified(ZippedFiles(packed)).seal
    assert seal is not None
    assert seal.sha256 in card
    assert "5 with PE, 6 without, on 2026-11-28" in card
    assert "Research use only" in card


def test_a_report_s_card_goes_along_unless_it_is_of_the_run_before(results, tmp_path):
    """A model is registered when it was evaluated, which is before the report is written anew."""
    card, decision = results / "report/model_card.md", results / "evaluate/cpmn/decision.json"
    card.parent.mkdir(exist_ok=True)
    card.write_text("AUC of this run")
    for age, there in ((10, False), (-10, True)):
        os.utime(card, (decision.stat().st_mtime - age,) * 2)
        path = tmp_path / f"{there}.cpmn"
        export_model(results, "cpmn", path)
        with zipfile.ZipFile(path) as opened:
            assert ("AUC of this run" in opened.read("model_card.md").decode()) is there


def test_the_same_model_gives_the_same_bytes(results, tmp_path):
    for name in ("one", "two"):
        export_model(results, "cpmn", tmp_path / f"{name}.cpmn")
    assert (tmp_path / "one.cpmn").read_bytes() == (tmp_path / "two.cpmn").read_bytes()


def test_an_unpacked_file_is_the_same_model(packed, tmp_path):
    with zipfile.ZipFile(packed) as opened:
        opened.extractall(tmp_path / "unpacked")
    files = find_model(tmp_path / "unpacked", "cpmn")
    assert isinstance(files, FolderFiles)
    assert verified(files) == verified(ZippedFiles(packed))


def test_an_edited_run_is_not_exported(results, tmp_path):
    path = results / "train/cpmn/fold-0/plan.json"
    write_json(path, read_json(path) | {"window_center": 60})
    with pytest.raises(CpmnError, match=r"changed since: fold-0/plan\.json"):
        export_model(results, "cpmn", tmp_path / "model.cpmn")
    assert not list(tmp_path.glob("*model.cpmn"))


def test_another_name_than_cpmn_is_refused(results, tmp_path):
    with pytest.raises(CpmnError, match=r"End it in \.cpmn"):
        export_model(results, "cpmn", tmp_path / "model.zip")


@pytest.mark.parametrize(
    ("changes", "extra", "message"),
    [
        ({"fold-1/plan.json": b"{}"}, [], r"changed since: fold-1/plan\.json"),
        ({"fold-1/model.safetensors": None}, [], r"holds no fold-1/model\.safetensors"),
        ({"decision.json": b"[" * 100000}, [], "not valid JSON"),
        ({"decision.json": b'{"a": "' + b" " * (17 * 2**20) + b'"}'}, [], "larger than"),
        ({}, [("decision.json", b"{}")], "one name twice"),
        ({}, [(f"{number}", b"") for number in range(3001)], "too many files"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_of_anothers_making_is_refused(packed, changes, extra, message):
    with pytest.raises(CpmnError, match=message):
        verified(ZippedFiles(rewritten(packed, changes, extra)))


def test_a_member_with_a_path_is_never_written(packed, tmp_path):
    other = rewritten(packed, extra=[("../../escaped", b"x"), ("/tmp/escaped-cpmn", b"x")])
    before = sorted(tmp_path.rglob("*"))
    verified(ZippedFiles(other))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more"])
def test_what_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "model.cpmn"
    path.write_bytes(content)
    with pytest.raises(CpmnError, match="is no model file"):
        find_model(path, "cpmn")


def test_a_cut_off_file_is_refused(packed):
    packed.write_bytes(packed.read_bytes()[:-200])
    with pytest.raises(CpmnError, match="is no model file"):
        ZippedFiles(packed)


def test_a_file_cannot_be_sealed_in_place(packed, capsys):
    assert main(["seal", str(packed), "--reason", "x"]) == 2
    assert "Unpack it into a folder" in capsys.readouterr().err


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_that_is_unpacked_at_once_is_refused(packed, tmp_path, method):
    """450 bytes of BZIP2 filled the memory, whatever size they declared; damaged LZMA ended in a traceback."""
    path = tmp_path / "other.cpmn"
    with zipfile.ZipFile(packed) as source, zipfile.ZipFile(path, "w", method) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    with pytest.raises(CpmnError, match="another method than Deflate"):
        verified(ZippedFiles(path))
