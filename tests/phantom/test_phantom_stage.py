from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.config.phantom import PhantomConfig
from cpmn.errors import CpmnError
from cpmn.files import read_json, sha256_of_files, write_json
from cpmn.images import read_image
from cpmn.phantom import stage
from cpmn.phantom.anatomy import Anatomy
from cpmn.phantom.motion import Bell, Motion, Term
from cpmn.phantom.scan import Phase, phase_grid
from cpmn.phantom.stage import is_finished, settings_key, write_patient


def hashes(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): sha256_of_files([path]) for path in files}


def test_same_seed_same_bytes(tiny: PhantomConfig, written: Path, positive: str, tmp_path: Path):
    write_patient(tiny, positive, tmp_path / "again")
    assert hashes(tmp_path / "again") == hashes(written / positive)


def test_a_larger_cohort_leaves_a_patients_bytes(tiny: PhantomConfig, written: Path, negative: str, tmp_path: Path):
    write_patient(tiny.model_copy(update={"patients": 13}), negative, tmp_path / "again")
    assert hashes(tmp_path / "again") == hashes(written / negative)


def test_a_patient_beyond_the_configured_number_can_be_made(tiny: PhantomConfig, tmp_path: Path):
    """The workflow leaves `patients` out of a patient's settings, so that a new patient re-runs nobody else."""
    write_patient(tiny.model_copy(update={"patients": 1}), "phantom-002", tmp_path)
    assert read_json(tmp_path / "phantom.json")["patient_id"] == "phantom-002"


def test_another_seed_gives_another_patient(tiny: PhantomConfig, written: Path, positive: str, tmp_path: Path):
    write_patient(tiny.model_copy(update={"seed": 8}), positive, tmp_path / "other")
    ours, theirs = hashes(written / positive), hashes(tmp_path / "other")
    assert not [name for name in set(ours) & set(theirs) if ours[name] == theirs[name]]


def test_files_are_those_of_the_contract(written: Path, positive: str, negative: str):
    common = {"ctpa", "nct", "nct_truth.nii.gz", "motion.nii.gz", "phantom.json"}
    assert {path.name for path in (written / positive).iterdir()} == common | {"ctpa_mask.nii.gz"}
    assert {path.name for path in (written / negative).iterdir()} == common


def test_labels_lie_on_their_scans(tiny: PhantomConfig, anatomy: Anatomy, written: Path, positive: str):
    files: dict[Phase, str] = {"nct": "nct_truth.nii.gz", "ctpa": "ctpa_mask.nii.gz"}
    for phase, file in files.items():
        image, grid = read_image(written / positive / file), phase_grid(tiny, anatomy, phase)
        assert image.GetSize() == grid.size
        assert image.GetSpacing() == pytest.approx(grid.spacing, abs=1e-4)
        assert image.GetOrigin() == pytest.approx(grid.origin, abs=1e-4)
        assert set(np.unique(sitk.GetArrayFromImage(image))) - {0} == {clot.clot_id for clot in anatomy.clots}


def test_truth_of_a_normal_patient_is_empty(written: Path, negative: str):
    assert not sitk.GetArrayFromImage(read_image(written / negative / "nct_truth.nii.gz")).any()
    assert read_json(written / negative / "phantom.json")["clots"] == []


def test_motion_can_be_rebuilt_from_the_json(written: Path, positive: str, anatomy: Anatomy):
    terms = read_json(written / positive / "phantom.json")["motion"]["terms"]
    rebuilt = Motion(tuple(Term(tuple(t["amplitude"]), tuple(Bell(**b) for b in t["bells"])) for t in terms))  # type: ignore[arg-type]
    points = np.random.default_rng(0).uniform(-100, 100, (50, 3))
    assert rebuilt.to_ctpa(points) == pytest.approx(anatomy.motion.to_ctpa(points))


def test_json_describes_the_clots(written: Path, positive: str):
    made = read_json(written / positive / "phantom.json")
    truth = sitk.GetArrayFromImage(read_image(written / positive / "nct_truth.nii.gz"))
    assert made["synthetic"] is True
    assert made["label"] == 1
    for clot in made["clots"]:
        assert clot["voxels"]["nct"] == (truth == clot["id"]).sum()
        assert clot["occlusion"] in ("partial", "full")


def test_a_rerun_removes_slices_of_a_finer_scan(tiny: PhantomConfig, negative: str, tmp_path: Path):
    (tmp_path / "nct").mkdir()
    (tmp_path / "nct" / "IM9999.dcm").write_bytes(b"of an earlier run")
    (tmp_path / "ctpa_mask.nii.gz").write_bytes(b"of an earlier run")
    write_patient(tiny, negative, tmp_path)
    assert not (tmp_path / "nct" / "IM9999.dcm").exists()
    assert not (tmp_path / "ctpa_mask.nii.gz").exists()


def test_an_unknown_patient_is_named(tiny: PhantomConfig, tmp_path: Path):
    with pytest.raises(CpmnError, match="'nobody' is not a phantom patient"):
        write_patient(tiny, "nobody", tmp_path)


def test_a_patient_that_is_half_made_again_is_not_finished(tiny: PhantomConfig, negative: str, tmp_path, monkeypatch):
    """Else the first settings would find the other's DICOM files and take them for theirs."""

    def full_disk(*_) -> None:
        raise OSError("no space left on device")

    write_json(tmp_path / "phantom.json", {"settings": settings_key(tiny, False)})
    assert is_finished(tmp_path, settings_key(tiny, False))
    monkeypatch.setattr(stage, "write_image", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_patient(tiny.model_copy(update={"seed": 8}), negative, tmp_path)
    assert not is_finished(tmp_path, settings_key(tiny, False))
