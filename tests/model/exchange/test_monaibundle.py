"""The MONAI bundle reads a scan as `cpmn predict` does, where neither this project nor its libraries are installed."""

import os
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import binary_dilation, binary_erosion

from cpmn.cli import main
from cpmn.files import read_json
from cpmn.model.ensemble import load_sealed
from cpmn.model.exchange.monaibundle import DIFFERENCES, export_monai, inference
from cpmn.model.seal import verified
from cpmn.predict.model import load_model
from cpmn.volume.grid import normalise
from cpmn.volume.images import AIR_HU, read_image, same_grid, write_image
from tests.model.exchange.conftest import removed
from tests.predict.conftest import chest, decision, write_decision

pytest.importorskip("fire", reason="needs the extra export-test")

BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"cpmn", "SimpleITK", "scipy", "cc3d"}:
            raise ModuleNotFoundError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
"""
MAPS = ("probability", "mask")
TOLERANCE = 1e-4  # of the probability; the same computation in another order


def run(bundle, scan, output, tmp_path):
    """`monai.bundle run` in the bundle's folder; neither this project nor what only it needs can be imported."""
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "sitecustomize.py").write_text(BLOCKED)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "blocked")}
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json"]
    command += ["--scan", str(scan), "--output_dir", str(output)]
    done = subprocess.run(command, cwd=bundle, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-9000:]


@pytest.mark.slow
def test_the_bundle_alone_reads_a_scan_as_predict_does(files, tmp_path):
    """In all voxels but at a rim: where clots can lie ends a voxel earlier or later, and either is right."""
    write_decision(files.results, decision().model_copy(update={"anatomy": True}))
    scan, bundle, output = tmp_path / "nct.nii.gz", tmp_path / "bundle", tmp_path / "out"
    write_image(sitk.DICOMOrient(chest(), "RAS"), scan)
    assert main(["export", str(files.results), "-o", str(bundle), "--format", "monai"]) == 0
    load_model(files.results).predict(scan, output=tmp_path / "predicted")
    removed(files)
    run(bundle, scan, output, tmp_path)
    read, mask = (sitk.DICOMOrient(sitk.ReadImage(output / f"nct_{name}.nii.gz"), "LPS") for name in MAPS)
    expected, marked = (read_image(tmp_path / "predicted" / f"{name}.nii.gz") for name in ("probability", "prediction"))
    assert same_grid(read, expected)
    probability, expected = sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(expected)
    assert (probability[expected > 0] > 0).mean() > 0.98
    box, there = np.ones((3, 3, 3)), expected > 0
    rim = np.asarray(binary_dilation(there, box)) > np.asarray(binary_erosion(there, box))
    near = np.abs(probability - expected) < TOLERANCE + 0.5 / 255  # stored maps have 255 steps
    assert (there & ~rim).sum() > 1000
    assert near[~rim].all(), (~near & ~rim).sum()
    assert near.mean() >= 0.98
    marks, kept = sitk.GetArrayFromImage(mask), sitk.GetArrayFromImage(marked)
    np.testing.assert_array_equal(marks, probability >= 0.5)
    assert 2 * (marks & kept).sum() > 0.98 * (marks.sum() + kept.sum()) > 0


@pytest.mark.parametrize(("center", "scale"), [(45.0, 400.0), (45.0, 20.0), (-600.0, 1500.0)])
def test_a_window_is_padded_with_air_as_predict_does(files, center, scale):
    from monai.bundle.config_parser import ConfigParser

    plan = load_sealed(files, verified(files), "cpu")[0].plan
    plan = plan.model_copy(update={"window_center": center, "window_scale": scale, "clip": 4.0})
    parser = ConfigParser(inference(decision(), {0: plan}) | {"imports": []})
    padded = parser.get_parsed_content("folds#0#padding")(np.zeros((1, 33, 8, 8), np.float32))
    assert padded.shape == (1, 34, 48, 64)
    assert padded[0, -1, -1, -1] == normalise(np.array([AIR_HU]), center, scale, 4.0)[0]


def test_the_bundle_asks_for_the_lungs_that_the_decision_asks_for(files):
    plan = load_sealed(files, verified(files), "cpu")[0].plan
    assert inference(decision(minimum_lung_ml=120), {0: plan})["lungs"] == "$chest.find_lungs(@image, 120.0)"


def test_the_bundle_says_what_it_is_and_what_it_does_not_do(files, tmp_path):
    export_monai(files, tmp_path / "bundle")
    seal = verified(files).seal
    assert seal is not None
    made = {str(path.relative_to(tmp_path / "bundle")) for path in (tmp_path / "bundle").rglob("*") if path.is_file()}
    assert made >= {"configs/inference.json", "configs/metadata.json", "docs/README.md", "docs/decision.json"}
    assert made >= {"models/fold-0.pt2", "models/fold-1.pt2", "scripts/chest.py", "docs/LICENCE.txt"}
    about = read_json(tmp_path / "bundle/configs/metadata.json")
    assert about["model_sha256"] == seal.sha256
    assert about["differs_from_cpmn_predict"] == list(DIFFERENCES)
    page = (tmp_path / "bundle/docs/README.md").read_text()
    assert all(difference in page for difference in DIFFERENCES)
    assert "Research use only" in page
