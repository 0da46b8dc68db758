"""What becomes of a patient that a stage cannot process."""

import errno
import os
from datetime import datetime

import pytest

from cpmn.checks.finding import passed
from cpmn.errors import CpmnError, MachineError, PatientError
from cpmn.files import write_json
from cpmn.job.status import (
    CTPA_ALONE_STAGES,
    excluded_patients,
    exclusions,
    failed_registrations,
    left_out,
    read_status,
    require_patients,
    run_patient_stage,
)


def fail():
    raise PatientError("p1", "the mask is empty", "Check the mask.", "m.nii.gz")


def run(folder, work, **changes):
    settings = {"stage": "crop", "patient": "p1", "outputs": [folder / "out.nii.gz"], "status_path": folder / "s.json"}
    return run_patient_stage(work, **(settings | changes))


def test_success_is_recorded(tmp_path):
    status = run(tmp_path, lambda: None)
    assert (
        status == read_status(tmp_path / "s.json") == {"patient": "p1", "passed": True, "stage": "crop", "reason": ""}
    )


def test_findings_are_kept(tmp_path):
    status = run(tmp_path, lambda: [passed("mask_volume", "the mask marks 3 mL")])
    assert status == read_status(tmp_path / "s.json")
    assert status.get("checks") == [{"check": "mask_volume", "outcome": "passed", "seen": "the mask marks 3 mL"}]


def test_who_drew_the_clots_is_kept(tmp_path):
    assert run(tmp_path, lambda: None, source=lambda: "annotate").get("source") == "annotate"
    assert read_status(tmp_path / "s.json").get("source") == "annotate"


def test_stop_raises_and_writes_nothing(tmp_path):
    with pytest.raises(PatientError, match=r"patient p1: the mask is empty \(m\.nii\.gz\)\. Check the mask\."):
        run(tmp_path, fail)
    assert not list(tmp_path.iterdir())


def test_exclude_records_the_reason_and_leaves_empty_outputs(tmp_path):
    run(tmp_path, fail, on_bad_patient="exclude")
    assert (tmp_path / "out.nii.gz").read_bytes() == b""
    assert read_status(tmp_path / "s.json")["reason"].startswith("patient p1: the mask is empty")


def test_what_a_killed_job_left_half_written_goes_when_it_runs_again(tmp_path):
    (tmp_path / ".writing-77-out.nii.gz").write_bytes(b"half")
    run(tmp_path, lambda: None)
    assert [path.name for path in tmp_path.iterdir()] == ["s.json"]


def test_the_last_status_decides_who_is_left_out(tmp_path):
    def write(stage, patient, passed, failed_in=""):
        status = {"patient": patient, "passed": passed, "stage": failed_in or stage, "reason": f"{failed_in}!"}
        write_json(tmp_path / stage / patient / "status.json", status)

    for stage in ("convert", "propagate", "crop"):
        write(stage, "sound", True)
        write(stage, "bad", False, "convert")
    write("convert", "stopped", False, "convert")
    write("convert", "mended", False, "convert")
    write("crop", "mended", True)
    names = ["sound", "bad", "stopped", "mended", "new"]
    assert excluded_patients(names, tmp_path) == {"bad": "convert!", "stopped": "convert!"}
    assert exclusions(names, tmp_path)["bad"]["stage"] == "convert"


def test_the_crop_of_annotate_decides_who_with_a_ctpa_alone_is_left_out(tmp_path):
    def write(folder, patient, passed):
        status = {"patient": patient, "passed": passed, "stage": folder, "reason": ""}
        write_json(tmp_path / folder / patient / "status.json", status)

    for patient, convert in (("bad", True), ("mended", False), ("stopped", False), ("once-a-pair", True)):
        write("convert", patient, convert)
    write("annotate/crop", "bad", False)
    write("annotate/crop", "mended", True)
    write("crop", "once-a-pair", False)
    found = exclusions(["bad", "mended", "stopped", "once-a-pair", "new"], tmp_path, CTPA_ALONE_STAGES)
    assert {name: status["stage"] for name, status in found.items()} == {"bad": "annotate/crop", "stopped": "convert"}


def test_a_damaged_status_is_named(tmp_path):
    (tmp_path / "s.json").write_text('{"patient": ')
    with pytest.raises(CpmnError, match=r"s.json is not valid JSON: .*Delete it"):
        read_status(tmp_path / "s.json")


def test_later_stages_skip_and_keep_the_first_reason(tmp_path):
    run(tmp_path, fail, stage="convert", on_bad_patient="exclude")
    called = []
    later = run(tmp_path, lambda: called.append(1), status_path=tmp_path / "later.json", upstream=[tmp_path / "s.json"])
    assert called == []
    assert (later["stage"], later["passed"]) == ("convert", False)


def test_an_unexpected_failure_is_never_an_exclusion(tmp_path):
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, lambda: 1 / 0, on_bad_patient="exclude")


def test_an_error_without_a_patient_gets_one(tmp_path):
    def unnamed():
        raise CpmnError("no lungs were found.")

    with pytest.raises(CpmnError, match=r"patient p1: no lungs were found\."):
        run(tmp_path, unnamed)


def test_failed_registrations_are_listed_and_placeholders_skipped(tmp_path):
    write_json(tmp_path / "a.json", {"passed": False, "reason": "lung_dice 0.3"})
    write_json(tmp_path / "b.json", {"passed": True, "reason": ""})
    (tmp_path / "c.json").write_bytes(b"")
    paths = {name: tmp_path / f"{name}.json" for name in "abc"}
    assert failed_registrations(paths) == {"a": "registration: lung_dice 0.3"}


def test_too_few_patients_left_stops_with_the_reasons():
    require_patients("abcde", {"a": "patient a: broken"}, 4)
    with pytest.raises(CpmnError, match=r"3 of 4 patients are left to train (.|\n)*patient a: broken"):
        require_patients("abcd", {"a": "patient a: broken"}, 4)
    with pytest.raises(CpmnError, match=r"min_patients is 4\. Add patients"):
        require_patients("abc", {}, 4)


def test_what_an_earlier_run_left_out_is_named_with_the_file_to_make_again(tmp_path):
    assert left_out(["p1"], tmp_path) == {}

    def write(path, **facts):
        write_json(tmp_path / path, {"patient": "p", "passed": False, "reason": "", "stage": "crop"} | facts)

    for stage in ("convert", "register", "crop"):  # a failure is handed on by the stages after it
        write(f"{stage}/bad/status.json", stage="convert", reason="no slices")
    write("convert/early/status.json", stage="convert", reason="interrupted after this")
    write("annotate/early/status.json", stage="convert", reason="interrupted after this")
    write("annotate/read/status.json", stage="annotate", reason="no lungs")
    write("annotate/crop/taught/status.json", stage="annotate", reason="no lungs either")
    write("crop/mask/status.json", passed=True)
    write("crop/mask/vessels.json", reason="no veins")
    write("register/pair/quality.json", reason="folding")
    write("register/good/quality.json", passed=True)
    write("crop/good/status.json", passed=True)
    write("register/pair/status.json", passed=True)
    for path in tmp_path.rglob("*.json"):
        os.utime(path, (0, datetime(2026, 3, 5, 12).timestamp()))
    assert left_out(["bad", "early", "mask", "pair", "good", "read", "taught"], tmp_path) == {
        str(tmp_path / "annotate/read/status.json"): "no lungs (since 2026-03-05)",
        str(tmp_path / "annotate/crop/taught/status.json"): "no lungs either (since 2026-03-05)",
        str(tmp_path / "convert/bad/status.json"): "no slices (since 2026-03-05)",
        str(tmp_path / "convert/early/status.json"): "interrupted after this (since 2026-03-05)",
        str(tmp_path / "crop/mask/vessels.json"): "no veins (since 2026-03-05)",
        str(tmp_path / "register/pair/status.json"): "patient pair: registration: folding (since 2026-03-05)",
    }


@pytest.mark.parametrize("policy", ["stop", "exclude"])
def test_trouble_of_the_machine_excludes_nobody(tmp_path, policy):
    def full():
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "/tmp/unzipped")
        except OSError as error:
            raise PatientError("p1", "the zip archive is damaged", "Send it again.") from error

    with pytest.raises(MachineError, match=r"No space left on device \(/tmp/unzipped\).* not of the data"):
        run(tmp_path, full, on_bad_patient=policy)
    assert not list(tmp_path.iterdir())
