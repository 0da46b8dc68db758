"""The whole workflow on a tiny phantom cohort, run for real in a copy of the project."""

import csv
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


class Project:
    """A copy of the project and a folder to run in; tests may change both."""

    def __init__(self, folder: Path):
        self.code, self.run = folder / "project", folder / "run"
        for part in ("cpmn", "workflow", "config"):
            shutil.copytree(ROOT / part, self.code / part, ignore=shutil.ignore_patterns("__pycache__"))
        self.run.mkdir()

    def command(self, *arguments: str, config: tuple[str, ...] = ()) -> list[str]:
        """A Snakemake command line for this project; `config` are KEY=VALUE pairs."""
        start = [
            sys.executable,
            "-m",
            "snakemake",
            "--cores",
            "2",
            "--snakefile",
            str(self.code / "workflow/Snakefile"),
        ]
        files = ["--configfile", str(self.code / "config/tiny.yaml"), "--directory", str(self.run)]
        extra = ["--config", *config] if config else []
        return [*start, *files, *arguments, *extra]

    def environment(self) -> dict[str, str]:
        """Environment in which the copy, and not the installed package, is imported."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PYTHONPATH": str(self.code), "PATH": path}

    def snakemake(self, *arguments: str, config: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run Snakemake to its end; output and errors are in `stdout`."""
        return subprocess.run(
            self.command(*arguments, config=config),
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
        )

    def planned(self, *arguments: str, config: tuple[str, ...] = ()) -> Counter[str]:
        """How many jobs of each rule a run would have."""
        done = self.snakemake("-n", "--quiet", "host", *arguments, config=config)
        assert done.returncode == 0, done.stdout
        lines = done.stdout.splitlines()
        if not any(line.startswith("job ") for line in lines):
            return Counter()
        start = next(i for i, line in enumerate(lines) if line.startswith("job ")) + 2
        table = [line.split() for line in lines[start:]]
        rows = table[: next(i for i, row in enumerate(table) if row[:1] == ["total"])]
        return Counter({name: int(count) for name, count in rows})

    def rows(self) -> list[dict[str, str]]:
        """Rows of this run's phantom sheet, with absolute paths."""
        path = self.run / "data/phantom/cohort.csv"
        with path.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        files = ("ctpa", "nct", "ctpa_mask", "nct_truth")
        return [{key: str(path.parent / v) if key in files and v else v for key, v in row.items()} for row in rows]

    def sheet(self, rows: list[dict[str, str]]) -> str:
        """Write a cohort sheet beside this run; the `--config` value that names it."""
        path = self.run.parent / "cohort" / "cohort.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        return f"cohort={path}"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose tiny cohort went from DICOM to report. Tests leave it as they found it."""
    project = Project(tmp_path_factory.mktemp("finished"))
    done = project.snakemake("data/phantom/cohort.csv", "all")
    assert done.returncode == 0, done.stdout[-6000:]
    return project


@pytest.fixture
def another(finished: Project, tmp_path: Path) -> Project:
    """The same code with an empty run folder, for cohorts built from the finished one's phantom."""
    project = Project.__new__(Project)
    project.code, project.run = finished.code, tmp_path / "run"
    project.run.mkdir()
    return project
