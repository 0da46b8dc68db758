"""Each bad input: one clear message, and what becomes of the others."""

import json
import os
import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.volume.images import image_like, read_image, write_image

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workflow")]


def _missing_nct(row, folder):
    return row | {"nct": str(folder / "nowhere")}


def _unreadable_dicom(row, folder):
    shutil.copytree(row["nct"], folder / "nct")
    for path in (folder / "nct").iterdir():
        path.write_bytes(path.read_bytes()[:200])
    return row | {"nct": str(folder / "nct")}


def _mask_on_another_grid(row, folder):
    mask = read_image(row["ctpa_mask"])
    write_image(mask[:, :, :-3], folder / "mask.nii.gz")
    return row | {"ctpa_mask": str(folder / "mask.nii.gz")}


def _empty_mask(row, folder):
    mask = read_image(row["ctpa_mask"])
    write_image(image_like(np.zeros_like(sitk.GetArrayFromImage(mask)), mask), folder / "mask.nii.gz")
    return row | {"ctpa_mask": str(folder / "mask.nii.gz")}


BAD = {
    "missing": (_missing_nct, "does not exist"),
    "unreadable": (_unreadable_dicom, "read"),
    "grid": (_mask_on_another_grid, "grid"),
    "empty": (_empty_mask, "empty"),
}


@pytest.fixture(scope="module")
def cohort(finished, tmp_path_factory) -> tuple[list[dict[str, str]], dict[str, str], list[str]]:
    """A sheet in which one PE patient is spoilt in each way; (rows, spoilt id by way, sound ids)."""
    folder = tmp_path_factory.mktemp("bad")
    rows = [row | {"overrule": ""} for row in finished.rows()[:6]]  # the fewest that can be split
    again = {"overrule": "shared_scan shared_patient"}  # the spoilt ones are one patient's scans under other names
    positive = next(row for row in rows if row["label"] == "1")
    for name, (spoil, _) in BAD.items():
        (folder / name).mkdir()
        rows.append(spoil(positive | again | {"patient_id": f"bad-{name}"}, folder / name))
    sound = [row["patient_id"] for row in rows if not row["patient_id"].startswith("bad-")]
    return rows, {name: f"bad-{name}" for name in BAD}, sound


@pytest.fixture(scope="module")
def stopped(cohort, finished, tmp_path_factory):
    """The run of that cohort that stops at its bad patients; (project, its cohort setting, what it said).

    Of the sound patients it prepares the first; the others are there.
    """
    project = finished.beside(tmp_path_factory.mktemp("stopped") / "run")
    finished.give(project.run, without=cohort[2][0])
    sheet = project.sheet(cohort[0])
    done = project.snakemake("--keep-going", config=(sheet,))
    assert done.returncode != 0
    return project, sheet, done.stdout


def test_a_scan_under_two_ids_stops_before_any_training(finished, tmp_path):
    project = finished.beside(tmp_path / "run")
    first, second = finished.rows()[:2]
    again = first | {"patient_id": "again", "ctpa": "", "ctpa_mask": "", "label": "0", "nct_truth": ""}
    alone = second | {"ctpa": "", "ctpa_mask": "", "label": "0", "nct_truth": ""}
    original = first | {"ctpa": "", "ctpa_mask": "", "label": "0", "nct_truth": ""}
    sheet = project.sheet([original, alone, again])
    done = project.snakemake("results/convert/cohort.json", config=(sheet,))
    assert done.returncode != 0
    assert f"{first['patient_id']} and again hold the same voxels" in done.stdout
    assert not (project.run / "results/convert/cohort.json").exists()


def test_stop_names_each_patient_and_finishes_the_others_preprocessing(cohort, stopped):
    rows, spoilt, sound = cohort
    project, sheet, said = stopped
    for name, patient in spoilt.items():
        lines = [line for line in said.splitlines() if f"patient {patient}: " in line]
        assert lines, f"{name}: no message\n{said[-3000:]}"
        assert BAD[name][1] in lines[0], lines[0]
        assert not (project.run / "results/crop" / patient / "crop.json").exists()
    for patient in sound:
        assert (project.run / "results/crop" / patient / "crop.json").is_file()
    assert not (project.run / "results/train/cpmn").exists()
    assert "Traceback" not in said
    onwards = project.planned(config=(sheet, "on_bad_patient=exclude"))
    assert onwards["crop"] == len(spoilt)  # the way that the README shows: finished patients stay finished
    assert onwards["convert"] + onwards["propagate"] < len(rows)


def test_exclude_completes_and_reports_the_reasons(cohort, stopped, finished, tmp_path):
    """After the run that stopped, as a user goes on."""
    _, spoilt, sound = cohort
    project, sheet, _ = stopped
    another, one = project.continued(tmp_path / "run"), "train={variants: [nct_only]}"
    untracked = "track={enabled: false}"
    done = another.snakemake(config=(sheet, "on_bad_patient=exclude", one, untracked))
    assert done.returncode == 0, done.stdout[-5000:]
    page = (another.run / "results/report/index.html").read_text()
    for name, patient in spoilt.items():
        status = json.loads((another.run / "results/crop" / patient / "status.json").read_text())
        assert not status["passed"]
        assert BAD[name][1] in status["reason"]
        assert patient in page
    for patient in sound:
        ours, theirs = (run.run / "results/crop" / patient / "nct.nii.gz" for run in (another, finished))
        assert ours.read_bytes() == theirs.read_bytes()
    again = another.snakemake("-n", config=(sheet, one))
    assert not {"convert", "crop", "train", "evaluate"} & set(another.planned(config=(sheet, one)))
    for patient in spoilt.values():
        assert f"patient {patient}: " in again.stdout
    again_with = again.stdout.partition("To try them again, add: ")[2].splitlines()[0].split()
    retried = another.planned(*again_with, config=(sheet, one))
    assert retried["convert"] + retried["propagate"] >= len(spoilt)
    few = another.snakemake(config=(sheet, "on_bad_patient=exclude", one, untracked, f"min_patients={len(sound) + 1}"))
    assert few.returncode != 0
    assert "left to train and validate on" in few.stdout
    assert "rule train" not in few.stdout
    planned = another.planned(config=(sheet, "on_bad_patient=exclude", one, "min_patients=2"))
    assert planned["train"] == 0  # the number changes no model


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [*rows, rows[0]], "stands in 2 rows"),
        (lambda rows: [row | {"nct_truth": "/no/truth.nii.gz"} for row in rows], "nct_truth does not exist"),
    ],
    ids=["duplicate patient", "no reference"],
)
def test_a_wrong_sheet_stops_before_anything_runs(finished, another, change, message):
    done = another.snakemake(config=(another.sheet(change(finished.rows())),))
    assert done.returncode != 0
    assert message in done.stdout
    assert "Traceback" not in done.stdout
    assert not (another.run / "results").exists()


def test_a_slice_overwritten_in_place_converts_its_patient_again(finished, another):
    rows = finished.rows()[:1]
    nct = another.run.parent / "nct"
    shutil.copytree(rows[0]["nct"], nct)
    rows[0] = rows[0] | {"nct": str(nct)}
    sheet = another.sheet(rows)
    target = ["--nolock", f"results/convert/{rows[0]['patient_id']}/status.json"]
    assert another.snakemake(*target, config=(sheet,)).returncode == 0
    assert not another.planned(*target, config=(sheet,))
    one = sorted(nct.iterdir())[3]
    one.write_bytes(one.read_bytes())
    os.utime(one, (1e9, 1e9))  # as a copy keeps it: older than what it was converted to
    assert another.planned(*target, config=(sheet,))["convert"] == 1


def test_one_class_too_small_stops_before_training_and_the_others_are_preprocessed(finished, another):
    normals = [row for row in finished.rows() if row["label"] == "0"][:2]
    finished.give(another.run, without=normals[0]["patient_id"])
    done = another.snakemake("--keep-going", config=(another.sheet(normals),))
    assert done.returncode != 0
    assert "testing has 0 PE" in done.stdout
    assert "Traceback" not in done.stdout
    for row in normals:
        assert (another.run / "results/crop" / row["patient_id"] / "crop.json").is_file()
    assert not list((another.run / "results").glob("train/*/fold-*"))


def test_a_wrong_key_stops_before_anything_runs(another):
    done = another.snakemake(config=("train={stpes: 3}",))
    assert done.returncode != 0
    assert "train.stpes" in done.stdout
    assert not (another.run / "results").exists()


def test_a_scan_dated_in_the_future_is_converted(finished, tmp_path):
    """Snakemake would end with "clock skew", as its input is newer than what it makes."""
    project = finished.beside(tmp_path / "run")
    row = finished.rows()[0] | {"ctpa": "", "ctpa_mask": "", "label": "0", "nct_truth": ""}
    shutil.copytree(row["nct"], tmp_path / "nct")
    for path in (*(tmp_path / "nct").iterdir(), tmp_path / "nct"):
        os.utime(path, (2**32, 2**32))
    sheet = project.sheet([row | {"nct": str(tmp_path / "nct")}])
    target = f"results/convert/{row['patient_id']}/nct.json"
    done = project.snakemake(target, config=(sheet,))
    assert done.returncode == 0, done.stdout[-3000:]
    assert (project.run / target).stat().st_size
