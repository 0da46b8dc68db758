"""Models from a file, a folder and Python read a scan alike."""

import shutil
import subprocess
import sys

import pytest

from cpmn import load_model
from cpmn.cli import main
from cpmn.errors import CpmnError
from cpmn.files import read_json

SAME = ("decision", "score", "lesions", "warnings", "model", "threshold")


def same(record):
    return {key: record[key] for key in SAME}


def test_a_model_file_alone_reads_as_the_run_did(series, results, tmp_path, bright_spot):
    file = tmp_path / "elsewhere/model.cpmn"
    assert main(["predict", str(series), "-o", str(tmp_path / "run"), "--results", str(results)]) == 0
    assert main(["export", str(results), "-o", str(file)]) == 0
    shutil.rmtree(results)
    assert main(["predict", str(series), "-o", str(tmp_path / "file"), "--model", str(file)]) == 0
    expected, found = (read_json(tmp_path / name / "prediction.json") for name in ("run", "file"))
    assert same(found) == same(expected)
    masks = [(tmp_path / name / "prediction.nii.gz").read_bytes() for name in ("run", "file")]
    assert masks[0] == masks[1]


def test_a_model_is_loaded_once_for_many_scans(series, results, tmp_path, bright_spot, monkeypatch):
    from cpmn.predict import model as module

    model = load_model(results.parent if results.name == "results" else results)
    monkeypatch.setattr(module, "load_sealed", None)
    first = model.predict(series)
    second = model.predict(str(series), output=tmp_path / "out")
    assert same(first) == same(second) == same(read_json(tmp_path / "out/prediction.json"))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("cpmn-prediction-")] == []


def test_no_model_says_what_to_do(tmp_path):
    with pytest.raises(CpmnError, match=r"Run `snakemake --cores N` first, or name another file or folder"):
        load_model(tmp_path / "nowhere")


def test_an_empty_name_is_not_the_default(series, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["predict", str(series), "-o", str(tmp_path / "out"), "--model", ""])
    assert "is empty" in capsys.readouterr().err


def test_what_reads_a_scan_loads_no_statistics():
    """They take a third of the time that it takes to load."""
    code = (
        "import sys, cpmn.predict.stage; print({'sklearn', 'scipy.stats', 'pandas', 'statsmodels'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
