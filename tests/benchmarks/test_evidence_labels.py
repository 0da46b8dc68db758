"""Noise of the carried labels: known Dice."""

import numpy as np
import pytest
import SimpleITK as sitk

from benchmarks.evidence import labels
from benchmarks.evidence.cohorts import run_folder, training_folder
from cpmn.files import write_json, write_text
from cpmn.volume.images import write_image
from tests.benchmarks.conftest import make_plan


def mask(first: int, last: int, ids: int = 1) -> sitk.Image:
    array = np.zeros((4, 4, 20), np.uint8)
    array[1, 1, first:last] = ids
    return sitk.GetImageFromArray(array)


def test_dice_and_volume_ratio_of_pe_patients(made, monkeypatch):
    """Eight of ten voxels shared, then all of them; ids and patients without PE do not count."""
    monkeypatch.setattr(labels, "RESULTS", made / "results")
    cohort, results = training_folder("learnable"), run_folder("learnable", exact=False) / "results"
    sheet = ["patient_id,ctpa,nct,ctpa_mask,label,nct_truth"]
    for name, label, carried in (("a", 1, mask(2, 12, 3)), ("b", 1, mask(0, 10)), ("c", 0, mask(0, 1))):
        truth = cohort / f"{name}.nii.gz"
        write_image(mask(0, 10), truth)
        write_image(carried, results / "propagate" / name / "embolus.nii.gz")
        sheet.append(f"{name},{name},{name},{name},{label},{truth.name}")
        facts = {"clots": [{"id": 1, "nct_hu_over_blood": 20}, {"id": 3, "nct_hu_over_blood": 0}]}
        write_json(cohort / name / "phantom.json", facts | {"hu": {"nct": {"artery": 45}}})
        write_image(carried, results / "crop" / name / "embolus.nii.gz")
        write_image(sitk.Cast(carried == 1, sitk.sitkInt16) * 20 + 45, results / "crop" / name / "nct.nii.gz")
    write_text(cohort / "cohort.csv", "\n".join(sheet) + "\n")
    for _ in range(2):  # stored again, the row is replaced
        (row,) = labels.measure_labels(make_plan()).to_dict("records")
    assert (row["difficulty"], row["patients"]) == ("learnable", 2)
    assert row["dice"] == pytest.approx(0.9)
    assert row["dice_range"] == "0.800 to 1.000"
    assert row["volume_ratio"] == 1.0
    assert (row["ranked_by_median"], row["ranked_by_mean"]) == (1.0, 1.0)
    assert (made / "results" / "labels.csv").is_file()


def test_ranks_of_visibility_count_pairs_and_leave_out_what_lies_between():
    """Found contrasts of visible against isodense clots: 20 and 4 against 5 and 1 HU; 4 and 3 against 2 and 99."""
    clots = np.array([[25.0, 20, 4], [-16, 4, 3], [7, 5, 2], [-3, 1, 99], [10, 50, 50]])
    assert labels.visibility_ranks(clots) == {"ranked_by_median": 0.75, "ranked_by_mean": 0.5}
    assert labels.visibility_ranks(clots[:2]) == {"ranked_by_median": None, "ranked_by_mean": None}


def test_difficulties_that_are_not_there_keep_their_rows(made, monkeypatch):
    monkeypatch.setattr(labels, "RESULTS", made / "results")
    write_text(made / "results" / "labels.csv", "difficulty,patients\nmixed,40\n")
    assert labels.measure_labels(make_plan())["difficulty"].tolist() == ["mixed"]
