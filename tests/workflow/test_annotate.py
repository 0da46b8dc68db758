"""Every kind of patient in one sheet, from DICOM to report; a corrected outline runs one patient again."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.annotate.segments import write_segmentation
from cpmn.config.convert import ConvertConfig
from cpmn.files import read_json, read_table
from cpmn.job.status import read_status
from cpmn.volume.images import voxel_ml
from tests.conftest import Project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("annotate")]

SMALL = "annotate={steps: 8, spacing: [6.0, 6.0, 6.0], patch_size: [16, 16, 16], channels: [8, 16], batch_size: 2}"


@pytest.fixture(scope="module")
def mixed(finished, tmp_path_factory):
    """The tiny cohort with all seven kinds, with code and folder of its own: other workers try changed code.

    Pairs that stay what they are were prepared before.
    """
    project = Project.copy(tmp_path_factory.mktemp("kinds"))
    rows = finished.rows()
    test = json.loads((finished.run / "results/train/splits.json").read_text())["test"]
    pe = [row for row in rows if row["label"] == "1"]
    normal = [row for row in rows if row["label"] == "0"]
    for row in rows:
        row |= {"nct_mask": "", "overrule": "", "split": "test" if row["patient_id"] in test else ""}
    first, second, third = [row for row in pe if row["patient_id"] not in test][:3]
    kinds = [
        first,  # outlined pair
        second | {"ctpa_mask": ""},  # pair with a report
        *normal,  # pairs without PE
        *(row for row in pe if row["patient_id"] in test),
        third | {"nct": "", "nct_truth": ""},  # CTPA alone, outlined
        _copied(first, "reported-ctpa") | {"nct": "", "ctpa_mask": "", "nct_truth": ""},
        _copied(second, "nct-alone") | {"ctpa": "", "ctpa_mask": ""},
        _copied(third, "outlined-nct") | {"ctpa": "", "ctpa_mask": "", "nct_mask": third["nct_truth"]},
    ]
    finished.give(project.run, without=second["patient_id"])
    for made in project.run.glob(f"results/*/{third['patient_id']}"):
        shutil.rmtree(made)
    config = (project.sheet(kinds), SMALL, "train={variants: [cpmn]}", "track={enabled: false}")
    done = project.snakemake(config=config)
    assert done.returncode == 0, done.stdout[-6000:]
    return project, kinds, config, done.stdout


def _copied(row, name):
    """The row under another id and `overrule`, so that the same phantom may stand for another patient."""
    return row | {"patient_id": name, "overrule": "shared_scan shared_patient"}


def test_each_kind_is_counted_in_log_and_report(mixed):
    project, _, _, log = mixed
    page = (project.run / "results/report/index.html").read_text()
    tested = " (1 of them test, calibrate or take no part)"
    for kind in (
        *(f"outlined pair: 2{tested}", "pair with a report: 1", f"pair without PE: 4{tested}"),
        *("CTPA alone, outlined or without PE: 1", "CTPA alone with a report: 1", "NCT alone: 1", "outlined NCT: 1"),
    ):
        assert f"  {kind}, teaching " in log
        assert f"<li>{kind}, teaching " in page


def test_who_has_a_ctpa_alone_trains_it_and_is_never_scored(mixed):
    project, kinds, _, _ = mixed
    alone = {row["patient_id"] for row in kinds if not row["nct"]}
    splits = json.loads((project.run / "results/train/splits.json").read_text())
    assert alone <= set(splits["folds"][0]["train"])
    scored = {row["patient_id"] for row in read_table(project.run / "results/evaluate/cpmn/patients.csv")}
    assert not alone & scored
    for name in alone:
        assert not (project.run / "results/crop" / name).exists()
        assert (project.run / "results/annotate/crop" / name / "ctpa.nii.gz").is_file()


def test_who_has_an_nct_alone_takes_part_through_it(mixed):
    project, kinds, _, _ = mixed
    splits = json.loads((project.run / "results/train/splits.json").read_text())
    for name in [row["patient_id"] for row in kinds if not row["ctpa"]]:
        crop = project.run / "results/crop" / name
        assert (crop / "nct.nii.gz").is_file()
        assert not (crop / "ctpa.nii.gz").exists()
        parts = [splits["folds"][0]["train"], splits["folds"][0]["validation"], splits["test"]]
        assert any(name in part for part in parts)


def test_the_networks_are_measured_on_whom_they_did_not_see(mixed):
    project, _, _, _ = mixed
    measured = json.loads((project.run / "results/annotate/metrics.json").read_text())
    assert (measured["n_pe"], measured["networks"]) == (2, 2)
    work = read_table(project.run / "results/annotate/worklist.csv")
    assert len(work) == 1
    outline = project.run / "results/annotate" / work[0]["embolus"]
    assert {one.name for one in outline.parent.iterdir()} > {"embolus.nii.gz", "embolus.dcm", "picture.png"}


def reported_pair(kinds):
    (found,) = [row for row in kinds if row["label"] == "1" and row["ctpa"] and row["nct"] and not row["ctpa_mask"]]
    return found


def test_who_drew_the_clots_stands_in_the_status(mixed):
    project, kinds, _, _ = mixed
    sources = {
        row["patient_id"]: read_status(project.run / "results/propagate" / row["patient_id"] / "status.json").get(
            "source"
        )
        for row in kinds
        if row["nct"]
    }
    name = reported_pair(kinds)["patient_id"]
    drawn = json.loads((project.run / "results/annotate" / name / "annotate.json").read_text())["pieces"]
    assert sources[name] == ("annotate" if drawn else "label")
    assert sources["outlined-nct"] == "nct_mask"
    assert sources["nct-alone"] == "label"
    assert {sources[row["patient_id"]] for row in kinds if row["label"] == "0"} == {"label"}
    assert sources[kinds[0]["patient_id"]] == "ctpa_mask"


def test_without_any_outline_simulated_emboli_teach_if_that_is_asked_for(mixed):
    project, kinds, config, _ = mixed
    bare = project.sheet([row | {"ctpa_mask": "", "nct_mask": ""} for row in kinds])
    refused = project.snakemake(config=(bare, *config[1:]))
    planned = project.planned(config=(bare, "train={variants: [cpmn], sampling: {simulated_fraction: 0.5}}"))
    project.sheet(kinds)
    assert "Or learn from simulated emboli" in refused.stdout
    assert planned["annotate_train"] == planned["annotate"] == 0
    assert planned["train"] == 1


def test_a_corrected_outline_runs_one_patient_again(mixed):
    project, kinds, config, _ = mixed
    reported = reported_pair(kinds)
    corrected = project.run / "corrected.nii.gz"
    shutil.copy(reported["ctpa"].replace("/ctpa", "/ctpa_mask.nii.gz"), corrected)
    again = [row | ({"ctpa_mask": str(corrected)} if row is reported else {}) for row in kinds]
    planned = project.planned(config=(project.sheet(again), config[1]))
    project.sheet(kinds)
    assert planned["annotate_train"] == planned["annotate"] == planned["annotate_crop"] == 0
    assert planned["convert"] == planned["register"] == 0
    assert planned["propagate"] == planned["crop"] == 1


def test_a_corrected_dicom_segmentation_is_carried_like_a_persons_mask(mixed):
    """As a viewer would save it: the clots reach the NCT, and nothing but that patient runs."""
    project, kinds, config, _ = mixed
    reported = reported_pair(kinds)
    name = reported["patient_id"]
    converted = project.run / "results/convert" / name / "ctpa.nii.gz"
    truth = sitk.ReadImage(reported["ctpa"].replace("/ctpa", "/ctpa_mask.nii.gz"))
    outline = sitk.Resample(truth, sitk.ReadImage(str(converted)), sitk.Transform(), sitk.sitkNearestNeighbor)
    series = read_json(converted.with_name("ctpa.json"))["series"]
    corrected = project.run / "corrected.dcm"
    assert write_segmentation(corrected, outline, Path(reported["ctpa"]), series, ConvertConfig(), "a radiologist")
    again = [row | ({"ctpa_mask": str(corrected)} if row is reported else {}) for row in kinds]
    target = f"results/propagate/{name}/status.json"
    done = project.snakemake(target, config=(project.sheet(again), *config[1:]))
    project.sheet(kinds)
    assert done.returncode == 0, done.stdout[-6000:]
    assert read_status(project.run / target).get("source") == "ctpa_mask"
    carried = sitk.ReadImage(str(project.run / "results/propagate" / name / "embolus.nii.gz"))
    volumes = [np.count_nonzero(sitk.GetArrayViewFromImage(one)) * voxel_ml(one) for one in (outline, carried)]
    assert volumes[1] == pytest.approx(volumes[0], rel=0.25)
    assert re.search(r"^propagate +1\ntotal +1$", done.stdout, re.MULTILINE)
