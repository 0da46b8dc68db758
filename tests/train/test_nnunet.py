"""A run as nnU-Net's data set: who is in it, with which voxels, and in which folds."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.cli import main
from cpmn.errors import CpmnError
from cpmn.files import write_json
from cpmn.train.nnunet import write_dataset
from cpmn.volume.images import image_like, read_image, write_image

PE = ("outlined", "unoutlined", "misregistered")
OTHERS = ("normal", "bad", "test-one")


@pytest.fixture
def run(tmp_path):
    """A run folder in which one of each kind was preprocessed, and its sheet."""
    rows = ["patient_id,ctpa,nct,ctpa_mask,label"]
    for name in (*PE, *OTHERS):
        mask = f"{tmp_path}/m.nii.gz" if name == "outlined" else ""
        rows.append(f"{name},{tmp_path}/c.nii.gz,{tmp_path}/n.nii.gz,{mask},{int(name in PE)}")
        nct = sitk.GetImageFromArray(np.full((4, 6, 5), 40, np.int16))
        nct.SetSpacing((0.7, 0.7, 3.0))
        clots = np.zeros((4, 6, 5), np.uint16)
        clots[1, 2, 3], clots[2, 2, 3] = (3, 7) if name in ("outlined", "misregistered") else (0, 0)
        write_image(nct, tmp_path / f"results/convert/{name}/nct.nii.gz")
        write_image(image_like(clots, nct), tmp_path / f"results/propagate/{name}/embolus.nii.gz")
        quality = {"passed": name != "misregistered", "reason": "lungs apart"}
        write_json(tmp_path / f"results/register/{name}/quality.json", quality)
        status = {"passed": name != "bad", "stage": "crop", "reason": "no lungs"}
        write_json(tmp_path / f"results/crop/{name}/status.json", status)
    rows.append(f"ctpa-alone,{tmp_path}/c.nii.gz,,,0")
    for file in ("c.nii.gz", "n.nii.gz", "m.nii.gz"):
        (tmp_path / file).touch()
    (tmp_path / "cohort.csv").write_text("\n".join(rows) + "\n")
    learning = [*PE, "bad", "ctpa-alone"]
    folds = [{"train": learning, "validation": ["normal"]}, {"train": ["normal"], "validation": learning}]
    write_json(tmp_path / "results/train/splits.json", {"folds": folds, "test": ["test-one"], "calibration": []})
    return tmp_path


def test_it_holds_whose_clots_are_known_voxel_by_voxel(run):
    folder = run / "Dataset001_PE"
    found = write_dataset(run / "results", run / "cohort.csv", folder)
    assert found == {
        "train": ["outlined", "normal"],
        "test": ["test-one"],
        "left_out": ["unoutlined", "misregistered", "bad", "ctpa-alone"],
    }
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.nii.gz"))
    assert files == [
        "imagesTr/normal_0000.nii.gz",
        "imagesTr/outlined_0000.nii.gz",
        "imagesTs/test-one_0000.nii.gz",
        "labelsTr/normal.nii.gz",
        "labelsTr/outlined.nii.gz",
    ]
    label = read_image(folder / "labelsTr/outlined.nii.gz")
    assert label.GetPixelID() == sitk.sitkUInt8
    assert np.argwhere(sitk.GetArrayFromImage(label) == 1).tolist() == [[1, 2, 3], [2, 2, 3]]
    assert sitk.GetArrayFromImage(label).max() == 1
    assert label.GetSpacing() == pytest.approx((0.7, 0.7, 3.0))
    described = json.loads((folder / "dataset.json").read_text())
    assert (described["numTraining"], described["labels"]) == (2, {"background": 0, "embolus": 1})
    assert json.loads((folder / "splits_final.json").read_text()) == [
        {"train": ["outlined"], "val": ["normal"]},
        {"train": ["normal"], "val": ["outlined"]},
    ]


def test_what_annotate_left_out_is_ignored(run):
    """Slices of 3 mm, a clot in the second: 4.5 mm hold the slices beside it."""
    sheet, folder = run / "cohort.csv", run / "Dataset001_PE"
    sheet.write_text(sheet.read_text().replace(f"{run}/m.nii.gz", ""))
    clots = read_image(run / "results/propagate/outlined/embolus.nii.gz")
    tall = np.zeros((9, 6, 5), np.uint16)
    tall[1, 2, 3] = 1
    image = sitk.GetImageFromArray(tall)
    image.SetSpacing(clots.GetSpacing())
    write_image(image, run / "results/propagate/outlined/embolus.nii.gz")
    write_dataset(run / "results", sheet, folder)
    label = sitk.GetArrayFromImage(read_image(folder / "labelsTr/outlined.nii.gz"))
    assert [sorted(set(part.ravel().tolist())) for part in label] == [[0], [0, 1], [0], *[[2]] * 6]
    assert json.loads((folder / "dataset.json").read_text())["labels"] == {"background": 0, "embolus": 1, "ignore": 2}
    assert not sitk.GetArrayFromImage(read_image(folder / "labelsTr/normal.nii.gz")).any()


def test_a_failed_registration_leaves_out_only_whom_a_label_is_learnt_of(run):
    for name in ("test-one", "outlined"):
        write_json(run / f"results/register/{name}/quality.json", {"passed": False, "reason": "lungs apart"})
    found = write_dataset(run / "results", run / "cohort.csv", run / "Dataset001_PE")
    assert found["test"] == ["test-one"]
    assert found["train"] == ["normal"]
    assert found["left_out"] == ["outlined", "unoutlined", "misregistered", "bad", "ctpa-alone"]


def test_an_old_registration_of_a_patient_without_a_ctpa_leaves_nobody_out(run):
    sheet = run / "cohort.csv"
    sheet.write_text(sheet.read_text().replace(f"normal,{run}/c.nii.gz,", "normal,,"))
    write_json(run / "results/register/normal/quality.json", {"passed": False, "reason": "lungs apart"})
    assert "normal" in write_dataset(run / "results", sheet, run / "Dataset001_PE")["train"]


def test_each_mistake_is_one_message(run, capsys):
    results, cohort = str(run / "results"), str(run / "cohort.csv")
    assert main(["nnunet", results, "--cohort", cohort, "-o", str(run / "PE")]) == 2
    assert "names as Dataset001_PE, not PE" in capsys.readouterr().err
    assert main(["nnunet", results, "--cohort", cohort, "-o", str(run / "Dataset001_PE")]) == 0
    said = capsys.readouterr().out
    assert "2 patients to train on, 1 to predict" in said
    assert "unoutlined, misregistered, bad, ctpa-alone" in said
    assert main(["nnunet", results, "--cohort", cohort, "-o", str(run / "Dataset001_PE")]) == 2
    assert "exists" in capsys.readouterr().err
    (run / "results/train/splits.json").unlink()
    with pytest.raises(CpmnError, match=r"holds no train/splits\.json"):
        write_dataset(run / "results", run / "cohort.csv", run / "Dataset002_PE")
