"""ONNX: read by onnxruntime from the exported folder alone, it says what torch says."""

import sys

import numpy as np
import pytest
import torch

from cpmn.cli import main
from cpmn.errors import CpmnError
from cpmn.files import read_json
from cpmn.model.ensemble import load_sealed
from cpmn.model.exchange.onnxfolder import export_onnx
from cpmn.model.package import export_model
from cpmn.model.seal import verified
from tests.model.exchange.conftest import removed

pytest.importorskip("onnxruntime", reason="needs the extra export-test")
pytest.importorskip("onnxscript", reason="needs the extra export")


@pytest.mark.slow
def test_onnxruntime_agrees_with_torch(files, tmp_path, capsys):
    import onnxruntime

    networks, seal = load_sealed(files, verified(files), "cpu"), verified(files).seal
    assert seal is not None
    folder, path = tmp_path / "onnx", tmp_path / "model.cpmn"
    export_model(files.results, "cpmn", path, "ask the hospital")
    assert main(["export", str(path), "-o", str(folder), "--format", "onnx"]) == 0
    assert seal.sha256 in capsys.readouterr().out
    removed(files)
    generator = np.random.default_rng(0)
    for fold, network in networks.items():
        session = onnxruntime.InferenceSession(folder / f"fold-{fold}" / "network.onnx")
        assert session.get_modelmeta().custom_metadata_map["sha256"] == seal.sha256
        for shape in ((1, 1, 32, 48, 64), (2, 1, 16, 24, 40)):
            windows = generator.normal(size=shape).astype(np.float32)
            read = session.run(["probability", "evidence"], {"windows": windows})
            probability, evidence = map(np.asarray, read)
            with torch.no_grad():
                expected = network.pathway(torch.from_numpy(windows))
            np.testing.assert_allclose(probability, torch.sigmoid(expected.logits), atol=1e-4)
            np.testing.assert_allclose(evidence, expected.evidence, atol=1e-4)
            assert np.ptp(probability) > 0.2
    assert read_json(folder / "fold-0" / "plan.json")["spacing"] == [8, 8, 8]
    assert read_json(folder / "decision.json")["seal"]["sha256"] == seal.sha256
    assert "ask the hospital" in (folder / "LICENCE.txt").read_text()
    page = (folder / "README.md").read_text()
    assert "| 1 | 8.0 8.0 8.0 | 64 48 32 | 2 2 2 | 45.0 | 20.0 | 4.0 |" in page
    assert "Research use only" in page
    assert "to 0.001 mm along every axis, keeps its voxels" in page


def test_nothing_that_is_there_is_written_over(files, tmp_path):
    with pytest.raises(CpmnError, match="is there already"):
        export_onnx(files, tmp_path)


def test_what_is_missing_is_named(files, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(CpmnError, match=r"pip install -e '\.\[export\]'"):
        export_onnx(files, tmp_path / "onnx")


def test_a_failure_leaves_nothing(files, tmp_path, monkeypatch):
    def fail(*_arguments):
        raise MemoryError

    monkeypatch.setattr("cpmn.model.exchange.onnxfolder.exported", fail)
    with pytest.raises(MemoryError):
        export_onnx(files, tmp_path / "onnx")
    assert not list(tmp_path.glob("*onnx*"))
