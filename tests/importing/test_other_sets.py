"""CAD-PE, RSPECT and INSPECT, and what the command says."""

import re

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.cli import main
from cpmn.cli.import_set import DATASETS
from cpmn.cohort.sheet import load_cohort
from cpmn.cohort.splits import split_cohort
from cpmn.config.train import TrainConfig
from cpmn.errors import CpmnError
from cpmn.files import read_table
from cpmn.importing.cadpe import reference_name
from cpmn.importing.stage import KINDS, import_dataset
from cpmn.volume.images import read_image
from tests.importing.conftest import SHAPE

RSPECT = "StudyInstanceUID,SeriesInstanceUID,SOPInstanceUID,pe_present_on_image,negative_exam_for_pe,indeterminate\n"


@pytest.fixture
def cad_pe(tmp_path, write_image, chest):
    """CAD-PE with 001 (clots 3 and 7) and e0032 (none)."""
    source = tmp_path / "CAD-PE"
    clots = np.zeros(SHAPE, np.int16)
    clots[2, 3, 4], clots[8, 1, 1] = 3, 7
    for name, labels in (("001", clots), ("e0032", clots * 0)):
        write_image(source / f"images/{name}.nrrd", chest)
        write_image(source / f"rs/{reference_name(name)}.nrrd", labels)
    return source


@pytest.fixture
def rspect(tmp_path):
    """RSPECT with a positive study of two images, a negative, an indeterminate and one whose files are missing."""
    source = tmp_path / "RSPECT"
    rows = [
        "aa,a1,x1,0,0,0",
        "aa,a1,x2,1,0,0",
        "bb,b1,y1,0,1,0",
        "cc,c1,z1,0,0,1",
        "dd,d1,v1,0,1,0",
        "../ee,e1,w1,0,1,0",
    ]
    for name in ("aa/a1", "bb/b1", "cc/c1"):
        (source / "train" / name).mkdir(parents=True)
    (source / "train.csv").write_text(RSPECT + "\n".join(rows) + "\n")
    return source


@pytest.fixture
def inspect(tmp_path):
    """INSPECT with a positive, a negative and a case without a verdict."""
    source = tmp_path / "INSPECT"
    (source / "CTPA").mkdir(parents=True)
    for name in ("i1", "i2", "i3"):
        (source / f"CTPA/{name}.nii.gz").write_bytes(b"not looked into")
    sheets = {
        "metadata": "impression_id,image_id,person_id\n10,i1,p1\n20,i2.nii.gz,p1\n30,i3,p2\n40,i4,p3\n",
        "labels": "impression_id,pe_positive_nlp\n20,False\n10,True\n30,\n40,True\n",
        "splits": "impression_id,split\n10,train\n20,valid\n30,test\n40,test\n",
    }
    for name, text in sheets.items():
        (source / f"Final_{name}.csv").write_text(text)
    return source


@pytest.mark.parametrize(
    ("image", "reference"), [("001", "0001RefStd"), ("e0032", "e0032RefStd"), ("91", "0091RefStd")]
)
def test_names_of_reference_standards(image, reference):
    assert reference_name(image) == reference


def test_cad_pe_keeps_its_clot_ids(cad_pe, tmp_path):
    rows, skipped = import_dataset("cad-pe", cad_pe, tmp_path / "out")
    assert not skipped
    assert [(row["patient_id"], row["label"]) for row in rows] == [("001", "1"), ("e0032", "0")]
    values = sitk.GetArrayFromImage(read_image(tmp_path / "out" / rows[0]["ctpa_mask"]))
    assert {int(value): np.argwhere(values == value).tolist() for value in (3, 7)} == {3: [[2, 3, 4]], 7: [[8, 1, 1]]}


def test_cad_pe_refuses_a_reference_on_another_grid(cad_pe, write_image, tmp_path):
    write_image(cad_pe / "rs/0001RefStd.nrrd", np.ones((3, 4, 5), np.int16))
    _, (skipped,) = import_dataset("cad-pe", cad_pe, tmp_path / "out")
    assert "another grid" in skipped.reason


def test_rspect_takes_the_verdict_on_the_study(rspect, tmp_path):
    rows, skipped = import_dataset("rspect", rspect, tmp_path / "out")
    assert [(row["patient_id"], row["label"], row["ctpa_mask"]) for row in rows] == [("aa", "1", ""), ("bb", "0", "")]
    assert rows[0]["ctpa"] == str(rspect / "train/aa/a1")
    assert {one.patient_id: one.reason.split()[0] for one in skipped} == {
        "cc": "indeterminate",
        "dd": str(rspect / "train/dd/d1"),
        "../ee": "its",
    }


def test_rspect_takes_a_verdict_for_what_it_says_and_nothing_for_no(rspect, tmp_path):
    """With decimals, as a sheet has after it was joined to another, and with an empty cell."""
    text = (rspect / "train.csv").read_text()
    text = text.replace("x1,0,0,0", "x1,0,0.0,0.0").replace("y1,0,1,0", "y1,0,,0").replace("z1,0,0,1", "z1,0,0.0,1.0")
    (rspect / "train.csv").write_text(text)
    rows, skipped = import_dataset("rspect", rspect, tmp_path / "out")
    assert [(row["patient_id"], row["label"]) for row in rows] == [("aa", "1")]
    reasons = {one.patient_id: one.reason for one in skipped}
    assert reasons["bb"] == "negative_exam_for_pe is '', which is neither 0 nor 1"
    assert reasons["cc"] == "indeterminate"
    (rspect / "train.csv").write_text(text, encoding="utf-16")
    with pytest.raises(CpmnError, match="cannot be read as a table in UTF-8"):
        import_dataset("rspect", rspect, tmp_path / "again")


def test_inspect_joins_its_sheets(inspect, tmp_path):
    rows, skipped = import_dataset("inspect", inspect, tmp_path / "out")
    assert [(row["patient_id"], row["label"], row["split"], row["group"]) for row in rows] == [
        ("i1", "1", "train", "p1"),
        ("i2", "0", "validation", "p1"),
    ]
    assert {one.patient_id for one in skipped} == {"i3", "i4"}


def test_inspect_as_released_in_june_2025(inspect, tmp_path):
    """The same sheets under their new names, separated by tabs."""
    for old, new in (("metadata", "study_mapping"), ("labels", "labels"), ("splits", "splits")):
        sheet = inspect / f"Final_{old}.csv"
        (inspect / f"{new}_20250611.tsv").write_text(sheet.read_text().replace(",", "\t"))
        sheet.unlink()
    test_inspect_joins_its_sheets(inspect, tmp_path)


def test_inspect_without_persons_has_no_groups(inspect, tmp_path):
    (inspect / "Final_metadata.csv").write_text("impression_id,image_id\n10,i1\n20,i2.nii.gz\n")
    rows, _ = import_dataset("inspect", inspect, tmp_path / "out")
    assert [(row["patient_id"], row["group"]) for row in rows] == [("i1", ""), ("i2", "")]


def test_the_sheet_becomes_a_cohort_once_its_ncts_are_named(inspect, tmp_path):
    import_dataset("inspect", inspect, tmp_path / "out")
    sheet = tmp_path / "out/cohort.csv"
    with pytest.raises(CpmnError, match="no patient has an NCT"):
        split_cohort(load_cohort(sheet), TrainConfig())
    sheet.write_text(re.sub(r"(\w+)\.nii\.gz,,", r"\1.nii.gz,/\1-nct.nii.gz,", sheet.read_text()))
    assert [patient.group for patient in load_cohort(sheet)] == ["p1", "p1"]


def test_the_command_says_what_it_made_and_whom_it_left_out(rspect, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["import", "RSPECT", str(rspect), "-o", str(out)]) == 0
    said = capsys.readouterr()
    assert f"{out}/cohort.csv: 2 CTPA, 1 with PE, 0 with a mask" in said.out
    assert "left out: cc: indeterminate" in said.err
    assert len(read_table(out / "cohort.csv")) == 2


@pytest.mark.parametrize("kind", DATASETS)
def test_a_folder_that_is_no_such_set_is_refused(kind, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["import", kind, str(tmp_path / "empty"), "-o", str(tmp_path / "out")]) == 2
    assert "as it is published" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_sheet_that_is_there_is_never_replaced(rspect, tmp_path, capsys):
    (tmp_path / "cohort.csv").write_text("mine")
    assert main(["import", "rspect", str(rspect), "-o", str(tmp_path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "cohort.csv").read_text() == "mine"


def test_a_set_of_which_nobody_can_be_taken_says_why(rspect, tmp_path):
    (rspect / "train.csv").write_text(RSPECT + "cc,c1,z1,0,0,1\n")
    with pytest.raises(CpmnError, match="cc: indeterminate"):
        import_dataset("rspect", rspect, tmp_path / "out")


@pytest.mark.parametrize("filled", [True, False])
def test_sheets_without_their_columns_are_refused(rspect, inspect, tmp_path, filled):
    (rspect / "train.csv").write_text("a,b\n1,2\n" if filled else "")
    (inspect / "Final_labels.csv").write_text("impression_id,other\n10,True\n")
    for kind, source in (("rspect", rspect), ("inspect", inspect)):
        with pytest.raises(CpmnError, match="has no column"):
            import_dataset(kind, source, tmp_path / "out")


def test_the_command_knows_every_kind():
    assert set(DATASETS) == set(KINDS)
