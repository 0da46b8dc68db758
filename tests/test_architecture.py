"""The folders are the architecture: `[tool.importlinter]` in pyproject.toml says who may import whom."""

import ast
import tomllib
from collections import defaultdict

from importlinter.cli import lint_imports

from tests.conftest import ROOT

STAGES = ["phantom", "convert", "register", "propagate", "crop", "track", "train", "evaluate", "report", "predict"]


def test_no_stage_imports_another_and_shared_packages_import_no_stage(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert lint_imports(no_cache=True) == 0


def test_every_stage_has_a_package_and_stands_beside_the_others():
    (contract,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (beside,) = [layer.split(" | ") for layer in contract["layers"] if "convert" in layer]
    assert set(STAGES) <= set(beside)
    assert all((ROOT / "cpmn" / name / "__init__.py").is_file() for name in beside)


def test_no_two_classes_share_a_name():
    places: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "cpmn").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path.relative_to(ROOT)))
    assert "FileSet" in places
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}
