"""Many studies in one call."""

import os
import threading

import pytest

from cpmn import load_model
from cpmn.cli import main
from cpmn.errors import CpmnError
from cpmn.files import read_json, read_table
from cpmn.predict import model as model_module
from cpmn.predict import stage
from cpmn.predict.batch import Study, predict_studies, studies_of
from cpmn.predict.stage import request_key
from cpmn.volume.images import write_image
from tests.dicom.conftest import write_series as write_series  # a fixture
from tests.predict.conftest import chest, chest_series


@pytest.fixture
def studies(tmp_path):
    """Two chests and, between them, one without lungs."""
    folder = tmp_path / "studies"
    for name, scan in (("a", chest()), ("b", chest(lung_hu=40)), ("c", chest())):
        write_image(scan, folder / f"{name}.nii.gz")
    (folder / ".DS_Store").touch()
    return folder


def rows_of(out):
    return {row["study"]: row for row in read_table(out / "summary.csv")}


def test_one_bad_study_does_not_stop_the_rest(studies, results, tmp_path, bright_spot, capsys, monkeypatch):
    loaded, load = [], model_module.load_sealed
    monkeypatch.setattr(model_module, "load_sealed", lambda *given: loaded.append(1) or load(*given))
    out = tmp_path / "out"
    assert main(["predict", str(studies), "--each", "-o", str(out), "--results", str(results)]) == 2
    assert loaded == [1]
    rows = rows_of(out)
    assert {name: row["outcome"] for name, row in rows.items()} == {"a": "read", "b": "failed", "c": "read"}
    assert "no lungs" in rows["b"]["problem"]
    assert (rows["a"]["decision"], rows["a"]["marks"]) == ("PE", "1")
    for name in ("a", "c"):
        record = read_json(out / name / "prediction.json")
        assert float(rows[name]["score"]) == record["score"]
    assert read_json(out / "b/error.json")["problem"].startswith("no lungs")
    said = capsys.readouterr()
    assert "2 read, 0 skipped, 1 failed" in said.out
    assert "b: no lungs" in said.err


def test_many_are_read_as_one_is(studies, results, tmp_path, bright_spot):
    model = load_model(results)
    predict_studies(model, studies_of([studies], each=True), tmp_path / "out")
    alone = model.predict(studies / "c.nii.gz", output=tmp_path / "alone")
    together = read_json(tmp_path / "out/c/prediction.json")
    assert {**alone, "times": 0} == {**together, "times": 0}
    masks = [(tmp_path / name / "prediction.nii.gz").read_bytes() for name in ("alone", "out/c")]
    assert masks[0] == masks[1]


def test_existing_results_of_the_same_model_are_left(studies, results, tmp_path, bright_spot, monkeypatch):
    out, model = tmp_path / "out", load_model(results)
    chosen = studies_of([studies / "a.nii.gz", studies / "c.nii.gz"])
    predict_studies(model, chosen, out)
    (out / "c/prediction.json").unlink()
    before, read = (out / "a/prediction.json").read_bytes(), []
    original = stage.read_scan
    monkeypatch.setattr(
        stage, "read_scan", lambda source, **given: read.append(source.name) or original(source, **given)
    )
    rows = predict_studies(model, chosen, out, skip_existing=True)
    assert read == ["c.nii.gz"]
    assert [row["outcome"] for row in rows] == ["skipped", "read"]
    assert rows[0]["decision"] == rows[1]["decision"] == "PE"
    assert (out / "a/prediction.json").read_bytes() == before
    assert main(["seal", str(results), "--reason", "another model"]) == 0
    rows = predict_studies(load_model(results), chosen, out, skip_existing=True)
    assert [row["outcome"] for row in rows] == ["read", "read"]


def test_without_all_its_dicom_files_a_result_is_not_whole(write_series, results, tmp_path, bright_spot):
    """The process was killed between the record and its DICOM files, which come last."""
    out, model = tmp_path / "out", load_model(results)
    series = studies_of([chest_series(write_series, "scan")])
    predict_studies(model, series, out, dicom=True)
    (row,) = predict_studies(model, series, out, dicom=True, skip_existing=True)
    assert row["outcome"] == "skipped"
    (out / "scan/report.dcm").unlink()
    (row,) = predict_studies(model, series, out, dicom=True, skip_existing=True)
    assert row["outcome"] == "read"
    assert (out / "scan/report.dcm").is_file()


def test_the_next_scan_is_converted_while_one_is_read(studies, results, tmp_path, bright_spot, monkeypatch):
    """The first reading waits for the second conversion, which a call after the other would never reach."""
    second, original = threading.Event(), stage.read_scan

    def convert(source, **given):
        if source.name == "c.nii.gz":
            second.set()
        return original(source, **given)

    lungs = stage.crop_lungs
    monkeypatch.setattr(stage, "read_scan", convert)
    monkeypatch.setattr(stage, "crop_lungs", lambda *given: second.wait(60) and lungs(*given))
    rows = predict_studies(
        load_model(results), studies_of([studies / "a.nii.gz", studies / "c.nii.gz"]), tmp_path / "out"
    )
    assert [row["outcome"] for row in rows] == ["read", "read"]


def test_a_fault_of_ours_costs_one_study_alone(studies, results, tmp_path, bright_spot, monkeypatch):
    lungs, calls = stage.crop_lungs, []

    def broken(*given):
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("Doe^Jane")
        return lungs(*given)

    monkeypatch.setattr(stage, "crop_lungs", broken)
    chosen = studies_of([studies / "a.nii.gz", studies / "c.nii.gz"])
    rows = predict_studies(load_model(results), chosen, tmp_path / "out")
    assert [row["outcome"] for row in rows] == ["failed", "read"]
    assert rows[0]["problem"] == "unexpected: ValueError"


def test_a_sheet_names_studies(studies, tmp_path):
    sheet = studies / "list.csv"
    sheet.write_text("study,series,series_uid\nfirst,a.nii.gz,1.2\n,c.nii.gz,\n")
    first, second = studies_of([sheet])
    assert (first.name, first.source, first.series_uid) == ("first", studies / "a.nii.gz", "1.2")
    assert (second.name, second.series_uid) == ("c", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path\na.nii.gz\n", "no column 'series'"),
        ("series\n", "no row"),
        ("study,series\np1,a.nii.gz\np2,\n", "row 2 names no series"),
        ("study,series\n../up,a.nii.gz\n", "cannot name a folder"),
        ("study,series\nx,a.nii.gz\nx,c.nii.gz\n", "would both be 'x'"),
    ],
)
def test_a_sheet_that_names_none_is_refused(studies, text, message):
    (studies / "list.csv").write_text(text)
    with pytest.raises(CpmnError, match=message):
        studies_of([studies / "list.csv"])


def test_what_another_source_or_other_options_gave_is_read_again(studies, results, tmp_path, bright_spot):
    out, model = tmp_path / "out", load_model(results)
    first = [Study("p", studies / "a.nii.gz")]
    predict_studies(model, first, out)

    def again(chosen=first, **options):
        (row,) = predict_studies(model, chosen, out, skip_existing=True, **options)
        return row["outcome"]

    assert again() == "skipped"
    assert again([Study("p", studies / "c.nii.gz")]) == "read"  # another scan of the same name
    assert again() == "read"
    assert again(overrule=["lungs"]) == "read"
    assert again() == "read"
    (out / "p/error.json").write_text("{}")  # something failed after the reading
    assert again() == "read"
    assert again([Study("p", tmp_path / "gone.nii.gz")]) == "failed"


def test_the_request_hides_names(tmp_path):
    """Equal files of other names have the same key; the key of another series differs."""
    keys = []
    for name in ("Doe_Jane", "x"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.dcm").write_bytes(b"1234")
        os.utime(tmp_path / name / f"{name}.dcm", (0, 1e9))
        keys.append(request_key(tmp_path / name, "", {}))
    assert keys[0] == keys[1] != request_key(tmp_path / "x", "1.2", {})


def test_the_request_of_a_header_is_that_of_its_voxels_too(tmp_path):
    for name in ("scan.mhd", "scan.raw", "other.raw"):
        (tmp_path / name).write_bytes(b"1234")
    keys = [request_key(tmp_path / "scan.mhd", "", {})]
    for name in ("other.raw", "scan.raw"):
        os.utime(tmp_path / name, (0, 1e9))
        keys.append(request_key(tmp_path / "scan.mhd", "", {}))
    assert keys[0] == keys[1] != keys[2]


def test_each_takes_every_kind_of_scan_whatever_its_case(tmp_path):
    for name in ("a.ZIP", "b.zip", "c.mhd", "D.NII.GZ", "notes.txt"):
        (tmp_path / name).touch()
    assert [one.name for one in studies_of([tmp_path], each=True)] == ["D", "a", "b", "c"]


def test_a_link_gives_its_own_name_and_not_that_of_where_it_leads(tmp_path):
    """A folder of links under pseudonyms, as it is given to whom names must not reach."""
    for link, target in (("001", "Doe_John/CT"), ("002", "Roe_Jane/CT")):
        (tmp_path / "archive" / target).mkdir(parents=True)
        (tmp_path / "studies").mkdir(exist_ok=True)
        (tmp_path / "studies" / link).symlink_to(tmp_path / "archive" / target)
    assert [one.name for one in studies_of([tmp_path / "studies"], each=True)] == ["001", "002"]


def test_each_takes_a_study_whose_link_leads_nowhere_so_that_it_is_said_to_be_missing(tmp_path):
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies/a").symlink_to(tmp_path / "gone")
    assert [one.source.name for one in studies_of([tmp_path / "studies"], each=True)] == ["a"]


def test_the_request_is_of_files_in_linked_folders_too(tmp_path):
    for name in ("scan", "disc"):
        (tmp_path / name).mkdir()
    (tmp_path / "scan/more").symlink_to(tmp_path / "disc")
    before = request_key(tmp_path / "scan", "", {})
    (tmp_path / "disc/1.dcm").touch()
    assert request_key(tmp_path / "scan", "", {}) != before


def test_a_sheet_of_excel_is_read(studies):
    (studies / "list.csv").write_text("study,series\nfirst,a.nii.gz\n", encoding="utf-8-sig")
    assert [one.name for one in studies_of([studies / "list.csv"])] == ["first"]
    (studies / "list.csv").write_text("study,series\nfirst,Müller.zip\n", encoding="cp1252")
    with pytest.raises(CpmnError, match="is no CSV file in UTF-8"):
        studies_of([studies / "list.csv"])


def test_the_summary_names_no_path(results, tmp_path, bright_spot):
    (tmp_path / "Doe_Jane.nii.gz").write_bytes(b"no image")
    (row,) = predict_studies(load_model(results), [Study("p1", tmp_path / "Doe_Jane.nii.gz")], tmp_path / "out")
    assert row["problem"] == read_json(tmp_path / "out/p1/error.json")["problem"]
    assert "Doe_Jane" not in (tmp_path / "out/summary.csv").read_text()
