import importlib
import subprocess
import sys
import threading

import pytest

from cpmn.imports import empty, without

READ = """
import sys, torch
from cpmn.model.inference import predict_volume
from cpmn.model.network import build_pathway
pathway = build_pathway([8, 16], [[2, 2, 2]], seed=0).eval()
predict_volume(pathway, torch.zeros(8, 16, 16), (1.0, 1.0, 2.0), (16, 16, 8))
print(sorted({"monai", "mlflow", "matplotlib", "pandas", "sklearn"} & set(sys.modules)))
import pandas
print(pandas.DataFrame({"a": [1]}).a.sum())
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Name of a package that is not loaded."""
    (tmp_path / "heavy_package").mkdir()
    (tmp_path / "heavy_package/__init__.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "heavy_package"
    sys.modules.pop("heavy_package", None)


def test_a_package_is_absent_in_the_block_and_there_after_it(package):
    with without([package]), pytest.raises(ModuleNotFoundError, match=package):
        importlib.import_module(package)
    assert importlib.import_module(package).value == 1


def test_what_is_loaded_already_stays(package):
    importlib.import_module(package)
    with without([package]):
        assert importlib.import_module(package).value == 1


def test_an_error_in_the_block_leaves_nothing_absent(package):
    with pytest.raises(ZeroDivisionError), without([package]):
        raise ZeroDivisionError
    assert importlib.import_module(package).value == 1


def test_another_thread_imports_meanwhile(package):
    with without([package]):
        other = threading.Thread(target=importlib.import_module, args=[package])
        other.start()
        other.join()
        assert sys.modules[package].value == 1


def test_a_part_is_absent_and_the_rest_is_not(package, tmp_path):
    (tmp_path / "heavy_package/part.py").write_text("")
    with without([f"{package}.part"]):
        assert importlib.import_module(package).value == 1
        with pytest.raises(ModuleNotFoundError, match="part is not loaded along"):
            importlib.import_module(f"{package}.part")


def test_a_module_is_empty_in_the_block_and_itself_after_it(package):
    with empty([package]):
        assert not hasattr(importlib.import_module(package), "value")
    assert importlib.import_module(package).value == 1
    with empty([package]):
        assert importlib.import_module(package).value == 1


def test_registering_loads_neither_statistics_nor_plots():
    code = "import sys; from cpmn.register.ants_engine import load_ants; print(callable(load_ants(1).registration)); "
    code += "print({'sklearn', 'statsmodels', 'matplotlib'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == ["True", "set()"]


def test_reading_a_scan_loads_monai_alone_and_pandas_works_afterwards():
    said = subprocess.run([sys.executable, "-c", READ], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == ["['monai']", "1"]
