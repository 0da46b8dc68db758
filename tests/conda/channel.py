"""Set up the tests of `--use-conda`: `python tests/conda/channel.py FOLDER`, then `PATH=FOLDER/bin:$PATH`.

FOLDER then holds a stand-in for the `conda` command (the file `conda` beside this one) and a local channel. The channel
is a folder named `conda-forge`, so that the project's environment files are used as they are. It holds two packages:
`python`, repacked from the interpreter that runs this script, and `pip`, from the wheel that comes with that
interpreter (`ensurepip`). Nothing in it is conda-forge's own build.
"""

import asyncio
import ensurepip
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from rattler.index import index_fs
from rattler.platform import Platform
from rattler_build import ArchiveType, assemble_package

CANNOT = 3  # exit code where this machine cannot do it; the reason is printed

CONDA = """\
#!/bin/sh
# Written by {script}: a test stand-in, not conda.
CPMN_CONDA_STANDIN={folder} exec {python} {stand_in} "$@"
"""
ACTIVATE = """\
# Written by {script}: sourced by Snakemake's jobs with the environment's folder; a test stand-in, not conda.
export CONDA_PREFIX="$1" PATH="$1/bin:$PATH"
hash -r
"""
UNUSED = shutil.ignore_patterns("site-packages", "test", "__pycache__", "config-*", "idlelib", "tkinter", "lib2to3")
"""Parts of the standard library that no environment of the project needs: two thirds of its size."""


def cannot_build() -> str | None:
    """Why no channel can be built from this interpreter, or None if one can."""
    if sys.platform != "linux":
        return "the local conda channel repacks a Linux CPython, and this is another system"
    if Path(sys.base_prefix) == Path("/usr"):
        return "the distribution's Python installs packages to places of its own: run the tests with another CPython"
    if sys.version_info[:2] != (3, 11):
        return f"the environment files ask for Python 3.11, and the tests run with {platform.python_version()}"
    if not list(_bundled_wheels()):
        return "this Python came without ensurepip's wheel of pip"
    return None


def build_channel(folder: Path, scratch: Path) -> Path:
    """Write the channel `folder`/conda-forge with `python` and `pip` and return it; `scratch` is a folder for work."""
    channel = folder / "conda-forge"
    place = str(Platform.current())
    _pack("python", platform.python_version(), place, _stage_python(scratch / "python"), channel / place)
    wheel = next(_bundled_wheels())
    _pack("pip", wheel.name.split("-")[1], "noarch", _stage_pip(wheel, scratch / "pip"), channel / "noarch")
    asyncio.run(index_fs(channel))
    return channel


def write_commands(folder: Path) -> None:
    """Write `folder`/bin/conda and `folder`/bin/activate."""
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    named = {
        "script": "tests/conda/channel.py",
        "folder": shlex.quote(str(folder)),
        "python": shlex.quote(sys.executable),
        "stand_in": shlex.quote(str(Path(__file__).with_name("conda"))),
    }
    for name, text in {"conda": CONDA, "activate": ACTIVATE}.items():
        path = folder / "bin" / name
        path.write_text(text.format(**named), encoding="utf-8")
        path.chmod(0o755)


def main() -> int:
    """Set up the folder named on the command line."""
    if reason := cannot_build():
        print(reason)
        return CANNOT
    folder = Path(sys.argv[1]).absolute()
    with tempfile.TemporaryDirectory() as scratch:
        build_channel(folder / "channel", Path(scratch))
    write_commands(folder)
    return 0


def _bundled_wheels() -> Iterator[Path]:
    return (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")


def _pack(name: str, version: str, place: str, files: Path, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    assemble_package(
        name=name,
        version=version,
        target_platform=place,
        build_string="cpmn_test_0",
        output_dir=output,
        files_dir=files,
        depends=["python >=3.11,<3.12.0a0"] if place == "noarch" else [],
        noarch="python" if place == "noarch" else None,
        summary="Repacked from the host for a test of cpmn; not a build of conda-forge.",
        archive_type=ArchiveType.Conda,
        compression_level=1,
        detect_prefix=False,
    )


def _stage_python(stage: Path) -> Path:
    """Copy the interpreter, its library and headers; make it find its library wherever it is installed."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(stdlib, stage / "lib" / stdlib.name, ignore=UNUSED, symlinks=True)
    shutil.copytree(Path(sysconfig.get_config_var("INCLUDEPY")), stage / "include" / stdlib.name)
    (stage / "bin").mkdir()
    program = stage / "bin" / stdlib.name
    shutil.copy2(Path(sys.base_prefix) / "bin" / stdlib.name, program)
    binaries = [program]
    if sysconfig.get_config_var("Py_ENABLE_SHARED"):
        library = Path(sysconfig.get_config_var("LIBDIR")) / sysconfig.get_config_var("INSTSONAME")
        binaries.append(Path(shutil.copy2(library, stage / "lib")))
    for binary in binaries:
        subprocess.run(["strip", "--strip-unneeded", binary], check=False)  # only for size
    subprocess.run([shutil.which("patchelf") or "patchelf", "--set-rpath", "$ORIGIN/../lib", program], check=True)
    for link in ("python", "python3"):
        (stage / "bin" / link).symlink_to(program.name)
    return stage


def _stage_pip(wheel: Path, stage: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(stage / "site-packages")
    return stage


if __name__ == "__main__":
    sys.exit(main())
