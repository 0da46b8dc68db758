"""`prediction.json` and `error.json` keep to their published schemas, and refer to the files of the scan."""

import errno
import json
from pathlib import Path

import jsonschema
import pydicom
import pytest

from cpmn.errors import CpmnError, PatientError
from cpmn.files import read_json
from cpmn.generate import ROOT
from cpmn.predict import stage
from cpmn.predict.failure import failure_recorded
from cpmn.predict.stage import predict_series
from cpmn.volume.images import write_image
from tests.predict.conftest import CLOT_INDEX, chest, chest_series, decision, write_decision

SCHEMAS = {name: ROOT / f"docs/reference/{name}.schema.json" for name in ("prediction", "error")}


def checked(out, name):
    """Contents of OUT/NAME.json, which keep to the schema."""
    record = read_json(out / f"{name}.json")
    jsonschema.validate(record, json.loads(SCHEMAS[name].read_text(encoding="utf-8")))
    return record


def test_a_record_of_an_image_file(series, results, tmp_path, bright_spot):
    predict_series(series, results=results, variant="cpmn", output=tmp_path / "out")
    record = checked(tmp_path / "out", "prediction")
    assert record["schema_version"] == 1
    assert record["scan"]["series_instance_uids"] == record["scan"]["sop_instance_uids"] == []
    assert record["scan"]["study_instance_uid"] is None
    assert record["times"]["total_s"] >= record["times"]["convert_s"] + record["times"]["network_s"] > 0


@pytest.mark.parametrize("feet_first", [False, True])
def test_a_record_refers_to_the_files_of_the_scan(write_series, results, tmp_path, bright_spot, feet_first):
    orientation = [-1 if feet_first else 1, 0, 0, 0, 1, 0]
    folder = chest_series(write_series, SeriesInstanceUID="1.7", ImageOrientationPatient=orientation)
    predict_series(folder, results=results, variant="cpmn", output=tmp_path / "out")
    record = checked(tmp_path / "out", "prediction")
    files = sorted((pydicom.dcmread(path) for path in folder.iterdir()), key=lambda one: one.ImagePositionPatient[2])
    assert record["scan"]["study_instance_uid"] == "1.2"
    assert record["scan"]["frame_of_reference_uid"] == "1.3"
    assert record["scan"]["series_instance_uids"] == ["1.7"]
    assert set(record["scan"]["sop_instance_uids"]) == {one.SOPInstanceUID for one in files}
    (lesion,) = record["lesions"]
    assert lesion["slice"] in range(CLOT_INDEX[0], CLOT_INDEX[0] + 3)
    named = files[lesion["slice"] - 1]
    assert lesion["sop_instance_uid"] == named.SOPInstanceUID
    assert lesion["instance_number"] == named.InstanceNumber
    assert lesion["frame"] is None


def test_a_score_that_is_no_probability_says_why(series, results, tmp_path, bright_spot):
    record = predict_series(series, results=results, variant="cpmn", output=tmp_path / "out")
    assert record["probability"]["value"] is None
    assert "mean of the standardised features" in record["probability"]["reason"]


def test_a_probability_lies_among_those_of_the_folds(series, results, tmp_path, bright_spot):
    """One fold's normals lie at other scores, so that its network alone says something else."""
    fitted = decision().model_dump(mode="json")
    fitted["combination"]["logistic"], fitted["threshold"]["value"] = True, 0.5
    fitted["folds"]["1"]["lesion"]["mean"] = 0.0
    write_decision(results, fitted)
    record = predict_series(series, results=results, variant="cpmn", output=tmp_path / "out")
    probability = record["probability"]
    assert probability["low"] < probability["value"] == record["score"] < probability["high"]
    assert probability["reason"] == ""


@pytest.mark.parametrize(
    ("kind", "name", "dicom", "problem", "remedy"),
    [
        ("scan", "lost.nii.gz", False, "does not exist", "Correct the path"),
        ("call", "scan.nii.gz", True, "<scan> is an image file", ""),
    ],
)
def test_a_failure_leaves_a_record(series, results, tmp_path, kind, name, dicom, problem, remedy):
    call = {"results": results, "variant": "cpmn", "output": tmp_path / "out", "dicom": dicom}
    with pytest.raises(CpmnError):
        predict_series(series.with_name(name), **call)
    record = checked(tmp_path / "out", "error")
    assert record["kind"] == kind
    assert problem in record["problem"]
    assert remedy in record["remedy"]
    assert str(tmp_path) not in json.dumps(record)


@pytest.mark.parametrize(
    ("source", "text", "told"),
    [
        (".", "lower convert.minimum_slices", "lower convert.minimum_slices"),
        ("a", "usa, export-a and a-b are damaged", "usa, export-a and a-b are damaged"),
        ("lower", "lower_lobe and convert.lower", "lower_lobe and convert.lower"),
        ("Doe/scan", "Doe/scan/1.dcm and (Doe/scan) differ", "<scan> and (<scan>) differ"),
        ("/data/Doe Jane", "/data/Doe Jane is empty", "<scan> is empty"),
    ],
)
def test_the_scan_is_put_for_its_path_and_for_no_part_of_a_word(tmp_path, source, text, told):
    with pytest.raises(PatientError), failure_recorded(tmp_path / "error.json", "", Path(source)):
        raise PatientError("p", text, text)
    record = read_json(tmp_path / "error.json")
    assert (record["problem"], record["remedy"]) == (told, told)


def test_a_full_disk_is_told_from_a_bad_scan(series, results, tmp_path, bright_spot, monkeypatch):
    def full(_image, path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(stage, "write_image", full)
    with pytest.raises(OSError, match="No space"):
        predict_series(series, results=results, variant="cpmn", output=tmp_path / "out")
    record = checked(tmp_path / "out", "error")
    assert (record["kind"], record["problem"]) == ("machine", "No space left on device (<file>)")


def test_a_refusal_names_the_check(write_series, results, tmp_path):
    """All tissue is bright here, which is no HU of a body."""
    folder = chest_series(write_series, "Zebrowski", blood=200)
    with pytest.raises(CpmnError):
        predict_series(folder, results=results, variant="cpmn", output=tmp_path / "out")
    record = checked(tmp_path / "out", "error")
    assert (record["kind"], record["check"]) == ("refused", "hounsfield")
    assert "--overrule" in record["remedy"]
    assert "Zebrowski" not in json.dumps(record)


def test_a_fault_of_the_software_quotes_nothing_and_is_raised(series, results, tmp_path, monkeypatch):
    def broken(*_arguments):
        raise ValueError("Doe^Jane")

    monkeypatch.setattr(stage, "crop_lungs", broken)
    with pytest.raises(ValueError, match="Doe"):
        predict_series(series, results=results, variant="cpmn", output=tmp_path / "out")
    record = checked(tmp_path / "out", "error")
    assert (record["kind"], record["problem"]) == ("unexpected", "ValueError")


def test_a_reading_removes_the_record_of_an_earlier_failure(series, results, tmp_path, bright_spot):
    write_image(chest(lung_hu=40), tmp_path / "blank.nii.gz")
    with pytest.raises(CpmnError):
        predict_series(tmp_path / "blank.nii.gz", results=results, variant="cpmn", output=tmp_path / "out")
    assert checked(tmp_path / "out", "error")["problem"].startswith("no lungs")
    predict_series(series, results=results, variant="cpmn", output=tmp_path / "out")
    assert not (tmp_path / "out/error.json").exists()
