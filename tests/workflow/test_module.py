"""The workflow as a module of another Snakefile, in that one's working folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workflow")]

SNAKEFILE = f"""
module cpmn:
    snakefile: "{ROOT}/workflow/Snakefile"
    config: {{"phantom": {{"patients": 6, "difficulty": "mixed"}}, "evaluate": {{"bootstrap_samples": 100}}}}

use rule * from cpmn exclude splits

use rule splits from cpmn as splits with:
    params:
        splits={{"test": ["one"], "folds": []}}

rule environment:
    output: "environment.txt"
    script: "environment.py"
"""
SCRIPT = """
import os, cpmn
names = ("OMP_WAIT_POLICY", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OMP_NUM_THREADS", "PYTHONPATH")
with open(snakemake.output[0], "w") as file:
    print(cpmn.__file__, *(os.environ.get(name) for name in names), file=file)
"""


class Outside:
    """A folder with a Snakefile of its own; its jobs are given no search path."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "Snakefile").write_text(SNAKEFILE)
        (folder / "environment.py").write_text(SCRIPT)

    def make(self, target: str, *options: str, **environment: str) -> str:
        """Run Snakemake there to its end; its output."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHONPATH", "OMP", "ITK"))}
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", target, "--cores", "1", *options],
            cwd=self.folder,
            env=clean | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout[-3000:]
        return done.stdout


@pytest.fixture
def outside(tmp_path: Path) -> Outside:
    """The workflow as a module of a Snakefile in an empty folder."""
    return Outside(tmp_path)


def test_jobs_find_the_package_and_leave_processors_to_others(outside):
    outside.make("environment.txt")
    seen = (outside.folder / "environment.txt").read_text().split()
    assert seen == [str(ROOT / "cpmn/__init__.py"), "PASSIVE", "1", "1", "None"]
    outside.make("environment.txt", "--force", OMP_WAIT_POLICY="ACTIVE")
    assert (outside.folder / "environment.txt").read_text().split()[1] == "ACTIVE"


def test_rules_take_the_module_s_configuration_and_write_into_the_working_folder(outside):
    said = outside.make("results/report/index.html", "-n", "--quiet", "host")
    counts = dict(line.split() for line in said.splitlines() if len(line.split()) == 2 and line.split()[1].isdigit())
    assert counts["phantom"] == counts["convert"] == counts["crop"] == "6"
    assert counts["report"] == "1"
    outside.make("results/train/splits.json")
    assert '"one"' in (outside.folder / "results/train/splits.json").read_text()
