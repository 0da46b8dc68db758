"""`snakemake --use-conda` with a small workflow: environments are solved, made, used, re-made and shared.

The command `conda` is the stand-in of this folder; docs/how-to/conda.md says what that does not show.
"""

import json
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("conda")]

SNAKEFILE = """
rule all:
    input: "in_shell.txt", "in_script.txt"

rule in_shell:
    output: "in_shell.txt"
    conda: "shell.yaml"
    shell: "python -c 'import sys, six; print(sys.prefix, six.__version__)' > {output}"

rule in_script:
    output: "in_script.txt"
    conda: "script.yaml"
    script: "write.py"
"""
SCRIPT = """
import sys, toolz
with open(snakemake.output[0], "w") as file:
    print(sys.prefix, toolz.__version__, file=file)
"""
ENVIRONMENT = """
channels: [conda-forge]
dependencies: [python={python}, pip, {{pip: [{pin}]}}]
"""


def small_workflow(folder: Path) -> Path:
    """Write a workflow of two rules, each with an environment of its own."""
    folder.mkdir(exist_ok=True)
    (folder / "Snakefile").write_text(SNAKEFILE)
    (folder / "write.py").write_text(SCRIPT)
    pin(folder, "shell", "six==1.17.0")
    pin(folder, "script", "toolz==1.0.0")
    return folder


def pin(folder: Path, name: str, requirement: str, python: str = "3.11") -> None:
    """Write an environment file of the small workflow."""
    (folder / f"{name}.yaml").write_text(ENVIRONMENT.format(python=python, pin=requirement))


def seen(folder: Path, rule: str) -> tuple[Path, str]:
    """What a rule of the small workflow saw: its `sys.prefix` and the version of its package."""
    prefix, version = (folder / f"{rule}.txt").read_text().split()
    return Path(prefix), version


def test_stand_in_says_what_it_is(stand_in):
    assert "stand-in for the tests of cpmn, not conda" in stand_in.conda("--version").stdout


def test_stand_in_refuses_what_it_cannot_answer(stand_in):
    done = stand_in.conda("install", "numpy")
    assert done.returncode == 2
    assert "no answer to: conda install numpy" in done.stdout


@pytest.fixture(scope="module")
def run(stand_in, tmp_path_factory):
    """The small workflow, run to its end in a folder of its own. Tests leave it as they found it."""
    folder = small_workflow(tmp_path_factory.mktemp("small"))
    done = stand_in.snakemake(folder)
    assert done.returncode == 0, done.stdout
    return folder


@pytest.mark.parametrize(("rule", "version"), [("in_shell", "1.17.0"), ("in_script", "1.0.0")])
def test_rule_runs_inside_its_own_environment(run, rule, version):
    prefix, found = seen(run, rule)
    assert found == version
    assert prefix.parent == run / ".snakemake" / "conda"
    assert seen(run, "in_shell")[0] != seen(run, "in_script")[0]


@pytest.mark.parametrize("package", ["python", "pip"])
def test_environment_comes_from_the_local_channel(run, stand_in, package):
    prefix, _ = seen(run, "in_shell")
    (record,) = [json.loads(path.read_text()) for path in (prefix / "conda-meta").glob(f"{package}-*.json")]
    assert record["url"].startswith((stand_in.folder / "channel" / "conda-forge").as_uri())


def test_changed_pin_re_runs_its_rule_in_a_new_environment(stand_in, tmp_path):
    folder = small_workflow(tmp_path)
    assert stand_in.snakemake(folder).returncode == 0
    before, other = seen(folder, "in_shell"), (folder / "in_script.txt").stat().st_mtime_ns
    pin(folder, "shell", "six==1.16.0")
    done = stand_in.snakemake(folder)
    assert done.returncode == 0, done.stdout
    after = seen(folder, "in_shell")
    assert after[1] == "1.16.0"
    assert after[0] != before[0]
    assert (folder / "in_script.txt").stat().st_mtime_ns == other
    assert "Nothing to be done" in stand_in.snakemake(folder).stdout


@pytest.mark.parametrize(
    ("requirement", "python", "named"),
    [("six==99.1", "3.11", "six==99.1"), ("six==1.17.0", "3.99", "python 3.99")],
    ids=["from pip", "from the channel"],
)
def test_unsatisfiable_pin_is_named_and_nothing_runs(stand_in, tmp_path, requirement, python, named):
    folder = small_workflow(tmp_path)
    pin(folder, "shell", requirement, python)
    done = stand_in.snakemake(folder, "in_shell.txt")
    assert done.returncode != 0
    assert "shell.yaml" in done.stdout
    assert named in done.stdout
    assert not (folder / "in_shell.txt").exists()


def test_conda_prefix_is_reused_from_another_folder(stand_in, tmp_path):
    one, two, envs = small_workflow(tmp_path / "one"), small_workflow(tmp_path / "two"), tmp_path / "envs"
    first = stand_in.snakemake(one, "--conda-prefix", envs)
    assert first.stdout.count("Creating conda environment") == 2, first.stdout
    second = stand_in.snakemake(two, "--conda-prefix", envs)
    assert second.returncode == 0, second.stdout
    assert "Creating conda environment" not in second.stdout
    assert seen(one, "in_shell") == seen(two, "in_shell")
    assert seen(two, "in_shell")[0].parent == envs
