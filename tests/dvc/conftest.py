"""The project as a Git and DVC repository of its own, with the tiny cohort as default configuration."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Project

ROOT = Path(__file__).parents[2]
PARTS = ("cpmn", "workflow", "config", ".dvc/config", ".dvcignore", ".gitignore", "dvc.yaml")


class Repository:
    """A folder under Git and DVC; commands run in it with this Python's programs."""

    def __init__(self, folder: Path):
        self.folder = folder

    def run(self, *command: str, **environment: str) -> str:
        """Run a command that must succeed; its output and errors."""
        done = self.attempt(*command, **environment)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-5000:]}"
        return done.stdout

    def attempt(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command that may fail; output and errors are in `stdout`."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        names = {f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        values = {**os.environ, **names, "PATH": path, "PYTHONPATH": str(self.folder), "COLUMNS": "200", **environment}
        out, both = subprocess.PIPE, subprocess.STDOUT
        return subprocess.run(
            command, cwd=self.folder, env=values, stdout=out, stderr=both, text=True, timeout=900, check=False
        )

    def commit(self, message: str) -> str:
        """Commit everything that Git does not ignore; the commit."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)
        return self.run("git", "rev-parse", "HEAD").strip()

    def clone(self, folder: Path) -> "Repository":
        """A fresh clone, without anything that Git does not hold."""
        self.run("git", "clone", "--quiet", str(self.folder), str(folder))
        return Repository(folder)

    def configure(self, **changes: Any) -> None:
        """Change keys of config/config.yaml."""
        path = self.folder / "config/config.yaml"
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        path.write_text(yaml.safe_dump(_merged(values, changes), sort_keys=False), encoding="utf-8")

    def times(self, pattern: str) -> dict[str, int]:
        """When each file was written (ns), by path."""
        return {str(path): path.stat().st_mtime_ns for path in self.folder.glob(pattern)}


def _merged(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(values.get(key), dict)
        values[key] = _merged(values[key], value) if both else value
    return values


@pytest.fixture(scope="session")
def project(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The project with the tiny cohort, reproduced and committed. Tests leave it at this commit.

    `dvc repro` makes one patient and everything of all patients; the other patients are those of `finished`.
    """
    repository = Repository(tmp_path_factory.mktemp("dvc") / "project")
    for part in PARTS:
        source, target = ROOT / part, repository.folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target, follow_symlinks=False)
    tiny = yaml.safe_load((ROOT / "config/tiny.yaml").read_text(encoding="utf-8"))
    repository.configure(**tiny, track={"enabled": False})
    repository.configure(train={"variants": ["nct_only"]})
    finished.give(repository.folder)
    repository.run("git", "init", "--quiet")
    repository.commit("Start")
    repository.run("dvc", "repro")
    repository.commit("Reproduce")
    return repository


@pytest.fixture
def bench(project: Repository) -> Iterator[Repository]:
    """The project itself, to be changed: afterwards it is at its commit again, with its files."""
    before = project.run("git", "rev-parse", "HEAD").strip()
    yield project
    project.run("git", "reset", "--quiet", "--hard", before)
    project.run("git", "clean", "--quiet", "--force")
    project.run("dvc", "checkout")
    (project.folder / "results/track.json").unlink(missing_ok=True)  # it may name another cohort, and is in no version
