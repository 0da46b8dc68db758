"""A whole cohort asked before any run: one table of what to look at."""

import csv
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.checks.deep import check_deeply, examine
from cpmn.cli import main
from cpmn.cohort.sheet import Patient, load_cohort
from cpmn.config.convert import ConvertConfig
from cpmn.volume.images import image_like, read_image, write_image

HEAD = "patient_id,ctpa,nct,ctpa_mask,label,overrule\n"
TIMES = {"AcquisitionDate": "20200101", "AcquisitionTime": "120000"}


@pytest.fixture
def cohort(write_series, tmp_path):
    """Six patients: one clean, one copy of it, one of two visits, one virtual, one half unreadable, one overruled."""

    def scan(name: str, person: str, intercept: int = -1024, **tags) -> None:
        write_series(name, PatientID=person, RescaleIntercept=intercept, **(TIMES | tags))

    scan("a/nct", "a")
    scan("a/ctpa", "a", -1000)
    scan("b/nct", "b", SeriesInstanceUID="7.7")
    scan("c/nct", "c", -990)
    scan("c/ctpa", "c", -980, AcquisitionDate="20220101")
    scan("d/nct", "d", -970, SeriesDescription="VNC <b>1.0</b>")
    scan("e/nct", "e", -960)
    (tmp_path / "e/nct/lost.dcm").write_bytes(b"")
    scan("f/nct", "f", -950, SeriesDescription="VNC")
    rows = ["a,a/ctpa,a/nct,,0,", "b,,b/nct,,0,", "c,c/ctpa,c/nct,,0,", "d,,d/nct,,0,", "e,,e/nct,,0,"]
    (tmp_path / "cohort.csv").write_text(HEAD + "\n".join([*rows, "f,,f/nct,,0,virtual", "g,,nowhere,,0,"]) + "\n")
    return tmp_path / "cohort.csv"


def bad(rows) -> set[tuple[str, ...]]:
    return {(row.patient_id, row.of, row.check, row.outcome) for row in rows if row.outcome != "passed"}


FACTS = {
    ("c", "pair", "interval", "refused"),
    ("d", "nct", "virtual", "refused"),
    ("e", "nct", "unreadable", "warned"),
    ("f", "nct", "virtual", "overruled"),
    ("g", "files", "present", "refused"),
}


@pytest.mark.parametrize("jobs", [1, 2])
def test_everything_is_found_in_one_pass(cohort, jobs):
    rows = check_deeply(load_cohort(cohort), ConvertConfig(), jobs=jobs)
    assert bad(rows) == FACTS | {("", "cohort", "shared_scan", "refused")}
    assert [row.outcome for row in rows] == sorted(
        (row.outcome for row in rows), key=["refused", "overruled", "warned", "passed"].index
    )


def test_headers_alone_find_what_headers_hold(cohort):
    rows = check_deeply(load_cohort(cohort), ConvertConfig(), headers_only=True)
    assert bad(rows) == FACTS
    assert "shared_scan" not in {row.check for row in rows if row.of == "cohort"}  # no voxels were compared


def test_headers_alone_say_little_of_image_files_and_stop_at_none(tmp_path):
    for phase in ("nct", "ctpa"):
        write_image(sitk.Image([9, 9, 9], sitk.sitkInt16), tmp_path / f"{phase}.nii.gz")
    (tmp_path / "cohort.csv").write_text(HEAD + "a,ctpa.nii.gz,nct.nii.gz,,0,\n")
    rows = check_deeply(load_cohort(tmp_path / "cohort.csv"), ConvertConfig(), headers_only=True)
    assert {"nct", "ctpa"} <= {row.of for row in rows}
    assert "refused" not in {row.outcome for row in rows}


def test_the_command_writes_a_table_and_a_page_and_ends_with_2(cohort, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["check", str(cohort), "--deep", "-o", str(out)]) == 2
    with (out / "check.csv").open(newline="") as stream:
        assert {row["check"] for row in csv.DictReader(stream) if row["outcome"] == "refused"} == {
            *("interval", "virtual", "present", "shared_scan")
        }
    page = (out / "check.html").read_text()
    assert "a and b hold the same voxels" in page
    assert "<b>" not in page
    assert "4 refused" in capsys.readouterr().out


CTPA_CHECKS = ["mask_volume", "mask_clots", "mask_mirrored", "mask_tissue", "mask_blood"]


def masks_of(phantom: Path, folder: Path, **columns: str) -> list[tuple[str, ...]]:
    """Column, check and outcome of all that was said of the masks in one phantom's row."""
    row = {"patient_id": "p", "ctpa": str(phantom / "ctpa"), "nct": str(phantom / "nct"), "label": "1"}
    row |= {"ctpa_mask": str(phantom / "ctpa_mask.nii.gz")} | columns
    with (folder / "cohort.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, row)
        writer.writeheader()
        writer.writerow(row)
    rows = check_deeply(load_cohort(folder / "cohort.csv"), ConvertConfig())
    return [(one.of, one.check, one.outcome) for one in rows if one.of in row]


def mirrored(path: Path, target: Path) -> str:
    """A mask mirrored from left to right, under the same header."""
    mask = read_image(path)
    write_image(image_like(np.ascontiguousarray(sitk.GetArrayFromImage(mask)[:, :, ::-1]), mask), target)
    return str(target)


def of_masks(rows: list[tuple[str, ...]]) -> set[tuple[str, ...]]:
    return {row for row in rows if "mask" in row[0] or row[0] == "nct_truth"}


def test_masks_that_fit_pass_every_check(phantom, tmp_path):
    truth = str(phantom / "nct_truth.nii.gz")
    found = of_masks(masks_of(phantom, tmp_path, nct_mask=truth, nct_truth=truth))
    on_nct = {("nct_mask", check, "passed") for check in CTPA_CHECKS[:-1]}
    assert found == on_nct | {("ctpa_mask", check, "passed") for check in CTPA_CHECKS} | {
        ("nct_truth", check, "passed") for check in ["mask_label", *CTPA_CHECKS[:-1]]
    }


@pytest.mark.parametrize(("column", "name"), [("ctpa_mask", "ctpa_mask"), ("nct_mask", "nct_truth")])
def test_a_mirrored_mask_is_found_and_can_be_overruled(phantom, tmp_path, column, name):
    wrong = mirrored(phantom / f"{name}.nii.gz", tmp_path / "wrong.nii.gz")
    assert (column, "mask_mirrored", "refused") in masks_of(phantom, tmp_path, **{column: wrong})
    found = masks_of(phantom, tmp_path, **{column: wrong, "overrule": "mask_mirrored mask_tissue"})
    assert (column, "mask_mirrored", "overruled") in found
    assert not {outcome for of, _, outcome in found if of == column} & {"refused"}


def test_a_mirrored_reference_is_found(phantom, tmp_path):
    wrong = mirrored(phantom / "nct_truth.nii.gz", tmp_path / "wrong.nii.gz")
    assert ("nct_truth", "mask_mirrored", "refused") in masks_of(phantom, tmp_path, nct_truth=wrong)


@pytest.mark.parametrize("column", ["ctpa_mask", "nct_mask", "nct_truth"])
def test_a_mask_that_cannot_be_placed_is_a_row(phantom, tmp_path, column):
    write_image(sitk.Image([9, 9, 9], sitk.sitkUInt8) + 1, tmp_path / "small.nii.gz")
    found = of_masks(masks_of(phantom, tmp_path, **{column: str(tmp_path / "small.nii.gz")}))
    assert {row for row in found if row[2] == "refused"} == {(column, "readable", "refused")}


@pytest.mark.parametrize(("column", "drawn"), [("ctpa_mask", "nct"), ("nct_mask", "ctpa"), ("nct_truth", "ctpa")])
def test_a_mask_drawn_on_the_other_phase_says_so(phantom, tmp_path, column, drawn):
    theirs = {"nct": phantom / "nct_truth.nii.gz", "ctpa": phantom / "ctpa_mask.nii.gz"}[drawn]
    row = {"patient_id": "p", "ctpa": phantom / "ctpa", "nct": phantom / "nct", "label": 1, column: theirs}
    rows = examine(Patient.model_validate(row), ConvertConfig(), headers_only=False).rows
    (found,) = [one for one in rows if one.of == column]
    assert found.outcome == "refused"
    assert f"lies on the grid of the {drawn.upper()}" in found.seen


@pytest.mark.parametrize("headers_only", [False, True])
def test_one_scan_given_as_both_phases_is_refused(write_series, tmp_path, headers_only):
    write_series("a", **TIMES)
    (tmp_path / "cohort.csv").write_text(HEAD + "a,a,a,,0,\n")
    (patient,) = load_cohort(tmp_path / "cohort.csv")
    found = examine(patient, ConvertConfig(), headers_only=headers_only)
    assert ("a", "pair", "shared_scan", "refused") in bad(found.rows)
