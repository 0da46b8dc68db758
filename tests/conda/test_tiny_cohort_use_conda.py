"""`snakemake --cores 2 --use-conda` on the tiny cohort: the project's own workflow in its own environments.

The environments are real, and are made once (3.3 GB, a minute); the command `conda` is the stand-in of this folder.
"""

import ast
import base64
import json
import re
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

from tests.conftest import Project

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = sorted((ROOT / "workflow" / "envs").glob("*.yaml"))
IMPORT_ALL = "import importlib, sys; print(sys.prefix); [importlib.import_module(name) for name in sys.argv[1:]]"

# One worker, since each would run the cohort; the time is for the first time, when the environments are made.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("conda"), pytest.mark.timeout(3600)]


class Run:
    """A copy of the project and a folder in which its workflow runs with `--use-conda`."""

    def __init__(self, stand_in, code: Path, folder: Path):
        self.stand_in, self.code, self.folder = stand_in, code, folder

    def snakemake(self, *arguments: str):
        """Run the workflow on the tiny cohort, its environments in the shared folder."""
        project = ["--snakefile", self.code / "workflow/Snakefile", "--configfile", self.code / "config/tiny.yaml"]
        one = [] if "--config" in arguments else ["--config", "train={variants: [nct_only]}"]  # every rule has a job
        given = [*project, "--conda-prefix", self.stand_in.envs, *arguments, *one]
        return self.stand_in.snakemake(self.folder, *given)

    def jobs(self) -> dict[str, list[dict]]:
        """Snakemake's records of the outputs that were made, by rule."""
        found = defaultdict(list)
        for path in (self.folder / ".snakemake" / "metadata").iterdir():
            record = json.loads(path.read_text())
            found[record["rule"]].append(record)
        return found

    def planned(self) -> dict[str, list[str]]:
        """Reasons of the jobs that a run would have now, by rule."""
        done = self.snakemake("--dry-run", "--quiet", "host")
        assert done.returncode == 0, done.stdout
        found = defaultdict(list)
        for rule, reason in re.findall(r"^rule (\w+):\n(?:    .*\n)*?    reason: (.*)$", done.stdout, re.MULTILINE):
            found[rule].append(reason)
        return found


@pytest.fixture(scope="module")
def run(stand_in, finished, tmp_path_factory):
    """The tiny cohort, of which every rule made something here. Tests leave it as they found it."""
    project = Project.copy(tmp_path_factory.mktemp("tiny"))
    finished.give(project.run)
    run = Run(stand_in, project.code, project.run)
    with stand_in.alone():
        remove_old_environments(stand_in.envs)
        done = run.snakemake("data/phantom/cohort.csv", "all")
    assert done.returncode == 0, done.stdout[-8000:]
    return run


def remove_old_environments(envs: Path) -> None:
    """Remove the environments of earlier pins, 1 to 2 GB each (`--conda-cleanup-envs` would remove those in use)."""
    for copy in envs.glob("*_.yaml"):
        if not any(same(copy, file) for file in ENVIRONMENTS):
            shutil.rmtree(copy.with_suffix(""), ignore_errors=True)
            copy.unlink()


def rules_with_scripts() -> dict[str, str]:
    """Name of the environment file of every rule of the project that runs something, read from the rules' text."""
    found = {}
    for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        for block in re.split(r"^(?=rule |use rule )", path.read_text(), flags=re.MULTILINE)[1:]:
            name = re.match(r"rule (\w+):|use rule (\w+) as (\w+) with:", block)
            conda = re.search(r'conda:\s*"\.\./envs/(\w+\.yaml)"', block)
            assert name, block
            if name[1] and conda:
                found[name[1]] = conda[1]
            elif name[2]:
                found[name[3]] = found[name[2]]
    return found


def test_report_is_written(run):
    assert (run.folder / "results/report/index.html").stat().st_size > 10_000


def test_every_rule_ran_inside_the_environment_of_its_file(run):
    jobs, rules = run.jobs(), rules_with_scripts()
    other_kinds = (name for name in rules if name.endswith("_alone") or name.startswith("annotate"))
    not_part_of_all = {"promote", "track", "crop_vessels", *other_kinds}
    assert set(jobs) == set(rules) - not_part_of_all
    for rule, records in jobs.items():
        assert_ran_inside(run, rule, records)


def test_rules_of_a_patient_without_ctpa_ran_inside_theirs(run, tmp_path):
    sheet = tmp_path / "cohort.csv"
    scan = run.folder / "data/phantom/phantom-001/nct"
    sheet.write_text(f"patient_id,ctpa,nct,ctpa_mask,label\nalone,,{scan},,0\n")
    project = Project(run.code, run.folder).beside(tmp_path / "run")
    alone = Run(run.stand_in, project.code, project.run)
    done = alone.snakemake("results/crop/alone/status.json", "--config", f"cohort={sheet}")
    assert done.returncode == 0, done.stdout
    jobs = alone.jobs()
    assert set(jobs) == {name for name in rules_with_scripts() if name.endswith("_nct_alone")}
    for rule, records in jobs.items():
        assert_ran_inside(alone, rule, records)


def assert_ran_inside(run: Run, rule: str, records: list[dict]) -> None:
    """Check every job of a rule: what its log says of `sys.prefix` is the environment made from the rule's file."""
    file = ROOT / "workflow" / "envs" / rules_with_scripts()[rule]
    for record in records:
        assert base64.b64decode(record["conda_env"]) == file.read_bytes(), rule
        first = (run.folder / record["log"][0]).read_text().splitlines()[0]
        prefix = Path(first.rsplit(" python ", 1)[1])
        assert prefix.parent == run.stand_in.envs, f"{rule} ran in {prefix}"
        assert same(prefix.with_name(f"{prefix.name}.yaml"), file), rule


def test_nothing_is_left_to_do(run):
    assert not run.planned()


@pytest.mark.parametrize("file", ENVIRONMENTS, ids=lambda path: path.stem)
def test_environment_holds_everything_that_its_rules_import(run, file):
    """Snakemake lends a job its own packages, so that a missing pin stays unseen: `python -I` has just its own."""
    rules = [rule for rule, name in rules_with_scripts().items() if name == file.name]
    scripts = {ROOT / "workflow/scripts" / f"{re.sub('_(nct|ctpa)_alone$', '', rule)}.py" for rule in rules}
    ours, others = imports_of(scripts)
    (prefix,) = [path.with_suffix("") for path in run.stand_in.envs.glob("*_.yaml") if same(path, file)]
    start = f"import sys; sys.path.insert(0, {str(run.code)!r}); "
    done = run.stand_in.run(prefix / "bin/python", "-I", "-c", start + IMPORT_ALL, *sorted(ours), *sorted(others))
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[0] == str(prefix)


def same(one: Path, two: Path) -> bool:
    return one.read_bytes() == two.read_bytes()


def imports_of(scripts: set[Path]) -> tuple[set[str], set[str]]:
    """Modules of the project and others that scripts import, at any depth and inside functions too."""
    ours, others, waiting = set(), set(), [*scripts]
    while waiting:
        for name in names_in(waiting.pop()):
            path = module_path(name)
            if path and name not in ours:
                ours.add(name)
                waiting.append(path)
            elif name.split(".")[0] not in {"cpmn", *sys.stdlib_module_names}:
                others.add(name)
    return ours, others


def names_in(path: Path) -> set[str]:
    """Dotted names of the modules that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {node.module, *(name for name in inner if module_path(name))}
    return names


def module_path(name: str) -> Path | None:
    """File of a module of the project, if it is one."""
    base = ROOT.joinpath(*name.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def test_changed_pin_re_runs_the_rules_of_its_environment(run):
    file = run.code / "workflow/envs/register.yaml"
    before = file.read_text()
    try:
        file.write_text(before.replace("tqdm==", "tqdm!=0.0,=="))
        planned = run.planned()
    finally:
        file.write_text(before)
    changed = {rule for rule, reasons in planned.items() if any("oftware environment" in text for text in reasons)}
    assert changed == {rule for rule, name in rules_with_scripts().items() if name == "register.yaml"}
    assert {"phantom", "convert", "splits", "track"}.isdisjoint(planned)
    assert "report" in planned


def test_environment_yml_is_made_the_same_way_and_runs_the_tests_of_a_module(stand_in, tmp_path):
    prefix = made_by_hand(stand_in, ROOT / "environment.yml")
    for part in ("cpmn", "tests", "config", "workflow", "pyproject.toml", "README.md"):
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
        copy(ROOT / part, tmp_path / part)
    probe = tmp_path / "tests" / "test_probe.py"
    probe.write_text(f"import sys\n\n\ndef test_prefix():\n    assert sys.prefix == {str(prefix)!r}\n")
    python = prefix / "bin/python"
    installed = stand_in.run(python, "-m", "pip", "install", "--no-deps", "-e", ".", cwd=tmp_path)
    assert installed.returncode == 0, installed.stdout
    done = stand_in.run(python, "-m", "pytest", "tests/test_files.py", probe, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout
    assert stand_in.run(prefix / "bin/cpmn", "--help", cwd=tmp_path).returncode == 0


def made_by_hand(stand_in, file: Path) -> Path:
    """Create an environment as a user does it, `conda env create`; kept while the file is the same."""
    prefix = stand_in.folder / "by-hand"
    copy = prefix.with_suffix(".yml")
    with stand_in.alone():
        if not copy.exists() or not same(copy, file):
            shutil.rmtree(prefix, ignore_errors=True)
            done = stand_in.conda("env", "create", "--file", file, "--prefix", prefix)
            assert done.returncode == 0, done.stdout
            shutil.copy2(file, copy)
    assert yaml.safe_load(file.read_text())["name"] == "cpmn"
    return prefix
