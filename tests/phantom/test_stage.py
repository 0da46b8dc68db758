from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import cpmn
from cpmn.anatomy.artery_vein import ARTERY, VEIN
from cpmn.cohort.sheet import load_cohort
from cpmn.config.phantom import PhantomConfig
from cpmn.errors import CpmnError
from cpmn.files import read_json, sha256_of_files, sha256_of_json, write_json
from cpmn.phantom import stage
from cpmn.phantom.anatomy import Anatomy, without_emboli
from cpmn.phantom.motion import Bell, Motion, Term
from cpmn.phantom.scan import Phase, phase_grid, vessel_labels
from cpmn.phantom.stage import is_finished, settings_key, write_cohort, write_patient, write_truth
from cpmn.volume.images import read_image


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


@pytest.fixture(scope="module")
def with_vessels(tiny: PhantomConfig, positive: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The PE patient with its vessels."""
    folder = tmp_path_factory.mktemp("vessels")
    write_patient(tiny.model_copy(update={"vessels": True}), positive, folder)
    return folder


def test_vessels_are_a_file_more_and_change_no_other(with_vessels: Path, written: Path, positive: str):
    plain, more = hashes(written / positive), hashes(with_vessels)
    assert set(more) - set(plain) == {"vessels.nii.gz"}
    assert [name for name in plain if more[name] != plain[name]] == ["phantom.json"]  # its hash of the settings
    first, second = (read_json(folder / "phantom.json") for folder in (written / positive, with_vessels))
    assert {key for key in first if first[key] != second[key]} == {"settings"}


def test_the_option_is_unknown_to_the_settings_of_a_phantom_without_it(tiny: PhantomConfig):
    """What other versions made stays finished: the hash is that of the settings before the option came."""
    settings = tiny.model_dump(mode="json", exclude={"patients", "reported", "vessels"})
    expected = sha256_of_json({"settings": settings, "truth_only": False, "version": cpmn.__version__})
    assert settings_key(tiny, False) == expected
    assert settings_key(tiny.model_copy(update={"vessels": True}), False) != expected


def test_vessels_tell_nothing_of_emboli(tiny: PhantomConfig, anatomy: Anatomy, with_vessels: Path):
    """Those of the embolus-free twin: arteries go on through the clots."""
    vessels, clots = (
        sitk.GetArrayFromImage(read_image(with_vessels / f"{name}.nii.gz")) for name in ("vessels", "nct_truth")
    )
    assert set(np.unique(vessels)) == {0, ARTERY, VEIN}
    assert np.array_equal(vessels, vessel_labels(tiny, without_emboli(anatomy)))
    assert (clots > 0).sum() > 20
    assert (vessels[clots > 0] == ARTERY).mean() > 0.8  # a voxel goes to a clot before half of it is one
    assert not (vessels[clots > 0] == VEIN).any()


def test_vessels_go_into_the_sheet_and_into_truth_alone(tiny: PhantomConfig, negative: str, tmp_path: Path):
    config = tiny.model_copy(update={"vessels": True})
    write_cohort(config, tmp_path, truth_only=True)
    write_truth(config, negative, tmp_path / negative)
    patient = next(one for one in load_cohort(tmp_path / "cohort.csv") if one.patient_id == negative)
    assert patient.vessels is not None
    assert patient.vessels.is_file()
    write_truth(tiny, negative, tmp_path / negative)
    assert not patient.vessels.exists()
