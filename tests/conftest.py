"""Fixtures shared by all tests."""

import csv
import importlib.util
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# What is tested is that records are right, not that this machine is idle: SQLite may take its time on a busy one.
os.environ.setdefault("CPMN_TRACK_WAIT_SECONDS", "170")

BROWSER_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --force-device-scale-factor=1 --window-size=1400,900"
)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real CT scans beside the project (never copied into it); the test is skipped where it is absent."""
    folder = Path(os.environ.get("CPMN_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real CT scans are absent: no folder {folder} (set CPMN_REAL_DATA)")
    return folder


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Headless Chromium with an empty profile."""
    chromium, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if not chromium or not driver:
        pytest.skip("Chromium is not installed: apt-get install chromium chromium-driver")
    if importlib.util.find_spec("selenium") is None:
        pytest.skip("selenium is not installed: pip install -e '.[browser]'")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*BROWSER_FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


class Project:
    """Code of the project and a folder in which its workflow runs."""

    def __init__(self, code: Path, run: Path):
        self.code, self.run = code, run

    @classmethod
    def copy(cls, folder: Path, patients: int | None = None) -> "Project":
        """A copy of the project with an empty run folder; tests may change both.

        Where it matters how jobs are run, and not what they make, six `patients` are the fewest that can be split.
        """
        copied = cls(folder / "project", folder / "run")
        for part in ("cpmn", "workflow", "config"):
            shutil.copytree(ROOT / part, copied.code / part, ignore=shutil.ignore_patterns("__pycache__"))
        if patients:
            tiny = copied.code / "config/tiny.yaml"
            settings = yaml.safe_load(tiny.read_text())
            settings["phantom"]["patients"] = patients
            tiny.write_text(yaml.safe_dump(settings))
        copied.run.mkdir()
        return copied

    def beside(self, run: Path) -> "Project":
        """The same code with an empty run folder, for cohorts built from this run's phantom."""
        run.mkdir()
        return Project(self.code, run)

    def continued(self, run: Path) -> "Project":
        """The same code with a copy of all that this run's folder holds."""
        shutil.copytree(self.run, run)
        return Project(self.code, run)

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
    project = Project.copy(tmp_path_factory.mktemp("finished"))
    done = project.snakemake("data/phantom/cohort.csv", "all")
    assert done.returncode == 0, done.stdout[-6000:]
    return project
