import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import SimpleITK as sitk

from cpmn.cli import main
from cpmn.cohort.phantom import phantom_label
from cpmn.cohort.sheet import load_cohort
from cpmn.config.phantom import PhantomConfig
from cpmn.errors import CpmnError
from cpmn.files import read_json, sha256_of_files
from cpmn.phantom import cohort
from cpmn.phantom.cohort import make_cohort
from cpmn.phantom.scan import scan_phase
from cpmn.phantom.stage import write_truth
from cpmn.volume.images import read_image

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def coarse() -> PhantomConfig:
    """Half a second a patient."""
    spacing = (7.0, 7.0, 8.0)
    return PhantomConfig(patients=3, seed=7, nct_spacing=spacing, ctpa_spacing=spacing, subsample_mm=4)


@pytest.fixture(scope="module")
def made(coarse: PhantomConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    make_cohort(coarse, folder, truth_only=True)
    return folder


def test_truth_only_has_the_nct_and_its_truth_without_dicom(coarse: PhantomConfig, made: Path):
    assert not list(made.rglob("*.dcm"))
    for index, patient in enumerate(load_cohort(made / "cohort.csv")):
        assert (patient.label, patient.ctpa, patient.ctpa_mask) == (phantom_label(7, index), None, None)
        assert patient.nct is not None
        folder = patient.nct.parent
        assert {path.name for path in folder.iterdir()} == {"nct.nii.gz", "nct_truth.nii.gz", "phantom.json"}
        assert patient.nct_truth == folder / "nct_truth.nii.gz"
        truth = sitk.GetArrayFromImage(read_image(folder / "nct_truth.nii.gz"))
        assert truth.any() == (patient.label == 1)
        assert read_json(folder / "phantom.json")["difficulty"] == "learnable"


def test_truth_only_voxels_are_those_of_the_dicom(tiny: PhantomConfig, anatomy, positive: str, tmp_path: Path):
    write_truth(tiny, positive, tmp_path)
    scan = scan_phase(tiny, anatomy, "nct")
    assert (sitk.GetArrayFromImage(read_image(tmp_path / "nct.nii.gz")) == scan.hu).all()
    assert (sitk.GetArrayFromImage(read_image(tmp_path / "nct_truth.nii.gz")) == scan.clots).all()


def test_processes_make_the_same_bytes(coarse: PhantomConfig, made: Path, tmp_path: Path):
    make_cohort(coarse, tmp_path, jobs=2, truth_only=True)
    names = sorted(str(path.relative_to(made)) for path in made.rglob("*") if path.is_file())
    assert len(names) == 10
    for name in names:
        assert sha256_of_files([made / name]) == sha256_of_files([tmp_path / name]), name


def test_finished_patients_are_kept_and_others_made(coarse: PhantomConfig, made: Path):
    (made / "phantom-002" / "phantom.json").unlink()
    kept = (made / "phantom-001" / "nct.nii.gz").stat().st_mtime_ns
    seen: dict[str, bool] = {}
    make_cohort(coarse, made, truth_only=True, done=seen.__setitem__)
    assert seen == {"phantom-001": False, "phantom-002": True, "phantom-003": False}
    assert (made / "phantom-001" / "nct.nii.gz").stat().st_mtime_ns == kept


@pytest.mark.parametrize("change", [{"difficulty": "mixed"}, {"seed": 8}, {"nct_noise_hu": 11.0}])
def test_other_settings_make_a_patient_again(coarse: PhantomConfig, made: Path, change: dict, monkeypatch):
    again: list[str] = []
    monkeypatch.setattr(cohort, "_make", lambda config, name, folder, truth_only: again.append(name) or name)
    make_cohort(coarse.model_copy(update=change), made, truth_only=True)
    assert len(again) == 3
    again.clear()
    make_cohort(coarse.model_copy(update={"patients": 4}), made, truth_only=True)
    assert again == ["phantom-004"]
    make_cohort(coarse, made)  # the same patients as DICOM are others
    assert len(again) == 4


def test_a_killed_process_is_explained(coarse: PhantomConfig, tmp_path: Path, monkeypatch):
    class Broken(cohort.ProcessPoolExecutor):
        def submit(self, *_args, **_kwargs):
            raise cohort.BrokenProcessPool("killed")

    monkeypatch.setattr(cohort, "ProcessPoolExecutor", Broken)
    with pytest.raises(CpmnError, match="fewer --jobs: finished patients are kept"):
        make_cohort(coarse, tmp_path, jobs=2, truth_only=True)


def test_command_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main(["phantom", "-o", str(tmp_path), "--patients", "0"]) == 2
    assert "patients is 0" in capsys.readouterr().err
    assert main(["phantom", "-o", str(tmp_path), "--jobs", "0"]) == 2
    assert "at least 1" in capsys.readouterr().err


def test_command_makes_a_cohort(tmp_path: Path, capsys: pytest.CaptureFixture):
    settings = tmp_path / "coarse.yaml"
    settings.write_text("phantom: {nct_spacing: [9, 9, 9], ctpa_spacing: [9, 9, 9], subsample_mm: 5}\n")
    arguments = ["phantom", "-o", str(tmp_path / "out"), "--patients", "2", "--difficulty", "realistic", "--truth-only"]
    assert main([*arguments, "--config", str(settings)]) == 0
    assert "2 patients made, 0 were there already" in capsys.readouterr().out
    assert read_json(tmp_path / "out" / "phantom-001" / "phantom.json")["difficulty"] == "realistic"
    assert main([*arguments, "--config", str(settings)]) == 0
    assert "0 patients made, 2 were there already" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["patient-7", "M\xfcller"])
@pytest.mark.parametrize("command", [("phantom",), ("chest-phantom", "a", "b")])
def test_a_cohort_of_one_s_own_is_not_replaced(tmp_path, capsys, command, name):
    sheet = tmp_path / "cohort.csv"
    sheet.write_bytes(f"patient_id,ctpa,nct,ctpa_mask,label\nphantom-001,,n,,0\n{name},,n,,0\n".encode("latin-1"))
    before = sheet.read_bytes()
    assert main([*command, "-o", str(tmp_path)]) == 2
    assert "Choose another folder" in capsys.readouterr().err
    assert sheet.read_bytes() == before


@pytest.mark.slow
def test_killed_command_leaves_no_process_and_goes_on(tmp_path: Path):
    settings = {"nct_spacing": (9, 9, 9), "ctpa_spacing": (9, 9, 9), "subsample_mm": 5, "patients": 6}
    config = PhantomConfig().changed(settings)
    (tmp_path / "coarse.json").write_text(json.dumps({"phantom": settings}))  # JSON is YAML, too
    command = [sys.executable, "-m", "cpmn.cli", "phantom", "--jobs", "2", "--truth-only"]
    given = ["-o", str(tmp_path / "out"), "--config", str(tmp_path / "coarse.json")]
    with subprocess.Popen([*command, *given], cwd=ROOT) as running:
        while not list(tmp_path.glob("out/*/phantom.json")):
            assert running.poll() is None
            time.sleep(0.05)
        workers = psutil.Process(running.pid).children(recursive=True)
        running.kill()
    assert len(workers) >= 2
    assert psutil.wait_procs(workers, timeout=30)[1] == []
    seen: dict[str, bool] = {}
    make_cohort(config, tmp_path / "out", truth_only=True, done=seen.__setitem__)
    assert len(seen) == 6
    assert 0 < sum(seen.values()) < 6
