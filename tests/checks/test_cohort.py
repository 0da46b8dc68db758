"""The same scan or person under two ids."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.checks.cohort import check_cohort, read_records
from cpmn.cohort.sheet import Patient
from cpmn.config.convert import ConvertConfig
from cpmn.convert.stage import convert_patient
from cpmn.files import write_json


def patient(name: str, **values) -> Patient:
    return Patient.model_validate({"patient_id": name, "nct": Path(f"/{name}"), "label": 0} | values)


def record(pixels: str, person: str = "") -> dict:
    return {"pixels_sha256": pixels, "identity": {"patient": person}}


def outcomes(patients, records) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for finding in check_cohort(patients, records):
        found.setdefault(finding.check, []).append(finding.outcome)
    return found


ONE, TWO, THREE = patient("a"), patient("b"), patient("c")


def test_patients_of_their_own_pass():
    records = {"a": {"nct": record("1", "x"), "ctpa": record("2", "x")}, "b": {"nct": record("3", "y")}}
    assert outcomes([ONE, TWO, THREE], records) == {"shared_scan": ["passed"], "shared_patient": ["passed"]}


def test_the_same_voxels_under_two_ids_name_both():
    records = {"a": {"nct": record("1")}, "b": {"nct": record("2"), "ctpa": record("1")}}
    finding = check_cohort([ONE, TWO], records)[0]
    assert (finding.outcome, finding.seen) == ("refused", "a and b hold the same voxels")


def test_a_row_that_overrules_is_left_out():
    records = {"a": {"nct": record("1", "x")}, "b": {"nct": record("1", "x")}}
    rows = [ONE, patient("b", overrule=("shared_scan", "shared_patient"))]
    assert outcomes(rows, records) == {"shared_scan": ["passed"], "shared_patient": ["passed"]}


def test_one_person_in_two_groups_is_refused_and_in_one_group_not():
    records = {"a": {"nct": record("1", "x")}, "b": {"nct": record("2", "x")}}
    assert outcomes([ONE, TWO], records)["shared_patient"] == ["refused"]
    assert outcomes([patient("a", group="g"), patient("b", group="g")], records)["shared_patient"] == ["passed"]


def test_one_person_with_many_rows_in_two_groups_is_refused():
    rows = [*(patient(name, group="g") for name in "abcd"), patient("e")]
    records = {row.patient_id: {"nct": record(row.patient_id, "x")} for row in rows}
    assert outcomes(rows, records)["shared_patient"] == ["refused"]


def test_a_number_of_many_is_a_placeholder():
    rows = [patient(f"p{n}") for n in range(6)]
    assert outcomes(rows, {p.patient_id: {"nct": record(p.patient_id, "anon")} for p in rows})["shared_patient"] == [
        "warned"
    ]


@pytest.mark.parametrize("how", ["copied", "linked", "re-encoded"])
def test_a_scan_given_again_is_known_by_its_voxels(write_series, tmp_path, how):
    scan = write_series("first", PatientID="one")
    if how == "copied":
        again = write_series("second", PatientID="two", SeriesInstanceUID="9.9", RescaleSlope=1.0)
    elif how == "linked":
        again = tmp_path / "link"
        again.symlink_to(scan)
    else:
        convert_patient(patient("x", nct=scan), tmp_path / "x", ConvertConfig())
        image = sitk.ReadImage(str(tmp_path / "x" / "nct.nii.gz"))
        again = tmp_path / "again.nrrd"
        sitk.WriteImage(sitk.Cast(image, sitk.sitkFloat64), str(again), useCompression=True)
    rows = [patient("a", nct=scan), patient("b", nct=again)]
    for row in rows:
        convert_patient(row, tmp_path / "convert" / row.patient_id, ConvertConfig())
    assert outcomes(rows, read_records(tmp_path / "convert", rows))["shared_scan"] == ["refused"]


def test_excluded_patients_have_no_record(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "nct.json").write_bytes(b"")
    write_json(tmp_path / "b" / "nct.json", record("1"))
    assert list(read_records(tmp_path, [ONE, TWO])) == ["b"]
    assert np.size(list(read_records(tmp_path, [ONE]))) == 0


def test_a_scan_that_a_row_no_longer_names_is_not_looked_at(tmp_path):
    """It was another's, and the person took it out of the row; what was converted of it lies there still."""
    for phase in ("nct", "ctpa"):
        write_json(tmp_path / f"convert/b/{phase}.json", {"pixels_sha256": phase})
    alone = TWO.model_copy(update={"nct": None, "ctpa": Path("scan")})
    assert list(read_records(tmp_path / "convert", [alone])["b"]) == ["ctpa"]
