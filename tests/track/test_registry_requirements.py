"""A registered model's environment has all that it imports."""

import ast
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

from cpmn.job.dependencies import source_files
from cpmn.track.registry import REQUIREMENTS


def imported(path: str) -> set[str]:
    """First parts of the modules that a file imports, at any place in it."""
    names = set()
    for node in ast.walk(ast.parse(Path(path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_all_that_a_served_model_imports_is_required():
    files = [path for path in source_files("cpmn.predict.served") if path.endswith(".py")]
    modules = set().union(*map(imported, files)) - set(sys.stdlib_module_names) - {"cpmn"}
    provided = packages_distributions()
    lacking = {name for name in modules if not {one.lower() for one in provided[name]} & set(REQUIREMENTS)}
    assert "isal" in modules
    assert not lacking
