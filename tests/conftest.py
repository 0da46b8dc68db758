"""Fixtures shared by all tests."""

import csv
import fcntl
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
# Several tests run side by side. Threads that wait for one another's cores spin: a sixth of the processor's time.
for threads in ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
    os.environ.setdefault(threads, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# What is tested is that records are right, not that this machine is idle: SQLite may take its time on a busy one.
os.environ.setdefault("CPMN_TRACK_WAIT_SECONDS", "170")

BROWSER_FLAGS = (
    "--headless --no-sandbox --use-angle=swiftshader --enable-unsafe-swiftshader --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync --force-device-scale-factor=1 "
    "--window-size=1400,900"
)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Share the tests out so that two workers are busy to the end: groups with slow tests first, large ones leading.

    The quick tests of a file are a group: one worker makes their fixtures.
    """
    for item in items:
        if not any(item.get_closest_marker(name) for name in ("slow", "xdist_group")):
            item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(ROOT))))
    slow = Counter(_group(item) for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[_group(item)])


def _group(item: pytest.Item) -> str:
    marker = item.get_closest_marker("xdist_group")
    return marker.args[0] if marker else item.nodeid


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold a lock that other test processes wait for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(autouse=True)
def _speaking_logs() -> None:
    """Loggers of ours as a new process has them: in a run of all tests other libraries' set-up silences some."""
    for name in [name for name in logging.root.manager.loggerDict if name.split(".")[0] == "cpmn"]:
        logger = logging.getLogger(name)
        logger.disabled, logger.propagate = False, True
        logger.setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real CT scans beside the project (never copied into it); the test is skipped where it is absent."""
    folder = Path(os.environ.get("CPMN_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real CT scans are absent: no folder {folder} (set CPMN_REAL_DATA)")
    return folder


@pytest.fixture(scope="module")  # left open, it would draw the last page for as long as the other tests run
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
    def copy(cls, folder: Path) -> "Project":
        """A copy of the project with an empty run folder; tests may change both."""
        copied = cls(folder / "project", folder / "run")
        for part in ("cpmn", "workflow", "config"):
            shutil.copytree(ROOT / part, copied.code / part, ignore=shutil.ignore_patterns("__pycache__"))
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

    def give(self, folder: Path, *, without: str = "phantom-001") -> None:
        """Copy what this run made into `folder`, but for what is made of all patients together and of one of them.

        Every rule then has a job to do, few have more: for tests of how jobs are run, and not of what they make.
        """
        for name in ("data", "results"):
            shutil.copytree(self.run / name, folder / name, dirs_exist_ok=True)
        for name in ("results/train", "results/evaluate", "results/report", f"data/phantom/{without}"):
            shutil.rmtree(folder / name)
        for made in folder.glob(f"results/*/{without}"):
            shutil.rmtree(made)
        for name in ("data/phantom/cohort.csv", "results/track.json"):
            (folder / name).unlink()

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
    """A project whose tiny cohort went from DICOM to report, one for all workers. Tests leave it as they found it."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "finished"
    project = Project(folder / "project", folder / "run")
    with lock(folder.with_suffix(".lock")):
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            Project.copy(folder)
            done = project.snakemake("data/phantom/cohort.csv", "all")
            assert done.returncode == 0, done.stdout[-6000:]
            (folder / "done").touch()
    return project


def install_plugins(extra: str, folder: Path, *needed: str) -> None:
    """Put Snakemake's plugins of an extra, and what they need beside what is installed, into a folder.

    Each Snakemake loads all plugins that it finds, which takes a third of a second: other tests are not to find these.
    """
    pins = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][extra]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *pins, *needed]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"the plugins of the extra `{extra}` cannot be installed here: {done.stderr[-500:]}")


@pytest.fixture
def stand_in_for_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a moto server: a stand-in for S3, not S3 itself, with one bucket `cpmn`."""
    pytest.importorskip("moto", reason="moto not installed: pip install -e '.[s3-test]'")
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    address = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "stand-in")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    boto3.client("s3", endpoint_url=address).create_bucket(Bucket="cpmn")
    yield address
    server.stop()
