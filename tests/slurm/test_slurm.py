"""The `slurm` profile: complete, and every rule of the workflow under a real Slurm with it."""

import csv
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.conftest import Project

ROOT = Path(__file__).parents[2]
ONE = "train={variants: [nct_only]}"  # every rule has a job, and each job here starts three Pythons
PROFILE = ROOT / "workflow/profiles/slurm/config.yaml"
TARGETS = {"models"}  # rules without a job of their own
WITH_GPU = {"train", "evaluate", "annotate_train", "annotate", "annotate_summary"}
ASKED_FOR = {"promote", "track", "crop_vessels"}
ASKED_FOR |= {"convert_nct_alone", "propagate_nct_alone", "crop_nct_alone", "convert_ctpa_alone"}
ASKED_FOR |= {"annotate_crop", "annotate_train", "annotate", "annotate_summary"}


def _settings(path: Path = PROFILE) -> dict:
    return yaml.safe_load(path.read_text())


def _on_gpus(folder: Path) -> Path:
    """A copy of the profile in which the how-to's step for GPUs is done."""
    text, lines = re.subn(r"# (gres: .*)", r"\1", PROFILE.read_text())
    assert lines == len(WITH_GPU)
    folder.mkdir()
    path = folder / "config.yaml"
    path.write_text(text)
    return path


class Cluster:
    """A copy of the project, so that an edit does not disturb the long run, and a run folder; jobs go to a Slurm."""

    def __init__(self, slurm, code: Path, folder: Path):
        self.slurm, self.code, self.folder = slurm, code, folder

    def snakemake(
        self, *arguments: str, profile: Path, config: tuple[str, ...] = (), meanwhile: Callable[[], None] = lambda: None
    ) -> subprocess.CompletedProcess[str]:
        """Run Snakemake to its end with a profile, as the how-to says; output and errors are in `stdout`."""
        command = [sys.executable, "-m", "snakemake", *arguments]
        command += ["--snakefile", str(self.code / "workflow/Snakefile"), "--directory", str(self.folder)]
        command += ["--configfile", str(self.code / "config/tiny.yaml"), "--workflow-profile", str(profile)]
        command += ["--default-resources", f"slurm_partition={self.slurm.partition}", "slurm_account=cpmn"]
        # This Slurm keeps no accounts; status is asked often and few jobs run at once, as this is one small machine.
        command += ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"]
        command += ["--slurm-keep-successful-logs", "--jobs", "4", "--latency-wait", "5"]
        command += ["--config", *config] if config else []
        environment = {**self.slurm.environment, "CUDA_VISIBLE_DEVICES": ""}
        out = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        started = subprocess.Popen(command, env=environment, **out)
        try:
            meanwhile()
            said, _ = started.communicate(timeout=1100)
        finally:
            started.kill()
        return subprocess.CompletedProcess(command, started.returncode, said)

    def stop(self, orders: dict[str, list[str]]) -> None:
        """Call `scancel` with what is given for each job's comment, as soon as its script has written something."""
        deadline, waiting = time.monotonic() + 300, dict(orders)
        while waiting and time.monotonic() < deadline:
            for job in self.slurm.jobs():
                comment, log = job["Comment"], Path(job.get("StdOut", ""))
                if comment in waiting and job["JobState"] == "RUNNING" and log.is_file() and log.stat().st_size:
                    self.slurm.client("scancel", *waiting.pop(comment), job["JobId"])
            time.sleep(0.1)
        assert not waiting, f"never seen running: {list(waiting)}"


def _rule(record: dict[str, str]) -> str:
    """Name of a Slurm job's rule; the executor plugin writes it into the comment."""
    name = re.match(r"rule_(\w+?)(_wildcards_|$)", record["Comment"])
    assert name, record
    return name[1]


def _minutes(limit: str) -> int:
    """Minutes of Slurm's [days-]hours:minutes:seconds."""
    days, _, clock = limit.rpartition("-")
    hours, minutes, _ = clock.split(":")
    return int(days or 0) * 1440 + int(hours) * 60 + int(minutes)


def _megabytes(mem_mb: str, size_mb: float = 0.0) -> int:
    """Of the first attempt, for input of `size_mb`; each further attempt gets as much again."""
    most, star, attempt = mem_mb.rpartition(" * ")
    assert (star, attempt) == (" * ", "attempt"), mem_mb
    found = re.fullmatch(r"max\((\d+), (\d+) \+ (\d+) \* input\.size_mb\)", most)
    if found is None:
        return int(most)
    least, fixed, times = map(int, found.groups())
    return max(least, round(fixed + times * size_mb))


def test_profile_names_every_rule_that_runs_a_job():
    text = "\n".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    rules = {new or old for old, new in re.findall(r"^(?:use )?rule (\w+)(?: as (\w+) with)?:", text, re.MULTILINE)}
    settings = _settings()
    assert set(settings["set-resources"]) == rules - TARGETS
    assert set(settings["set-threads"]) <= rules - TARGETS
    for name, resources in settings["set-resources"].items():
        assert set(resources) == {"mem_mb", "runtime"}, name


@pytest.mark.parametrize(
    ("rule", "files_mb", "took_mb"),
    [
        ("register", (106, 980), (1160, 3000)),
        ("propagate", (158, 1470), (730, 2400)),
        ("crop", (105, 980), (1080, 2900)),
    ],
)
def test_memory_grows_with_the_scan_and_a_half_is_spare(rule, files_mb, took_mb):
    """Pairs of 512 x 512 x 64 (`benchmarks/results/cost.csv`) and x 600, whose compressed files are as much larger."""
    mem_mb = _settings()["set-resources"][rule]["mem_mb"]
    asked = [_megabytes(mem_mb, size) for size in files_mb]
    assert all(1.5 * took <= given <= 4.2 * took for given, took in zip(asked, took_mb, strict=True)), asked
    assert asked[0] < asked[1]


def test_profile_keeps_what_the_default_profile_sets():
    default = _settings(ROOT / "workflow/profiles/default/config.yaml")
    ours = _settings()
    for key, value in default.items():
        if key not in ("set-threads", "set-resources", "quiet"):  # a job elsewhere tells nothing of itself
            assert ours[key] == value, key


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_rule_on_a_real_slurm(slurm, finished, tmp_path):
    """One test, since the parallel workers of pytest would each start a Slurm for theirs."""
    project = Project.copy(tmp_path)
    finished.give(project.run)
    cluster, profile = Cluster(slurm, project.code, project.run), _on_gpus(tmp_path / "profile")
    done = cluster.snakemake("data/phantom/cohort.csv", "all", profile=profile.parent, config=(ONE,))
    assert done.returncode == 0, done.stdout[-6000:]
    _check_records(cluster, _settings(profile), done.stdout)
    _check_results(cluster, profile.parent)
    _check_bad_patient(cluster, tmp_path / "bad")


def _check_records(cluster: Cluster, settings: dict, said: str) -> None:
    """Slurm ran every job that Snakemake planned, one of each rule at least, with the resources of the profile."""
    records = {job["JobId"]: job for job in cluster.slurm.jobs()}
    assert {record["JobState"] for record in records.values()} == {"COMPLETED"}
    table = said[said.index("Job stats:") : said.index("Select jobs")]
    planned = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}
    assert planned.pop("total") == len(records) + planned.pop("all")
    assert set(planned) == set(settings["set-resources"]) - ASKED_FOR
    assert Counter(_rule(record) for record in records.values()) == planned
    for record in records.values():
        rule = _rule(record)
        resources = settings["set-resources"][rule]
        assert record["MinMemoryNode"] == f"{_megabytes(resources['mem_mb'])}M", rule
        assert _minutes(record["TimeLimit"]) == resources["runtime"], rule
        assert record["NumCPUs"] == str(settings["set-threads"].get(rule, 1)), rule
        assert record["Partition"] == cluster.slurm.partition
        assert record["Account"] == "cpmn"
        assert ("gpu" in record.get("TresPerNode", "")) == (rule in WITH_GPU), record
    logs = {path.stem for path in (cluster.folder / ".snakemake/slurm_logs").rglob("*.log")}
    assert logs == set(records)


def _check_results(cluster: Cluster, profile: Path) -> None:
    """The results are there, and the same command finds nothing to do."""
    results = cluster.folder / "results"
    assert (results / "report/index.html").is_file()
    metrics = json.loads((results / "evaluate/nct_only/metrics.json").read_text())
    assert metrics["voxel"]["dice"]["n"] > 0
    before = len(cluster.slurm.jobs())
    again = cluster.snakemake("data/phantom/cohort.csv", "all", profile=profile, config=(ONE,))
    assert "Nothing to be done" in again.stdout, again.stdout[-3000:]
    assert len(cluster.slurm.jobs()) == before


def _check_bad_patient(cluster: Cluster, folder: Path) -> None:
    """With the profile as it stands: a bad patient is named at once, and the others' jobs finish.

    What failed, was cancelled or killed is sent once more, with twice the memory.
    """
    folder.mkdir()
    rows = _rows(cluster.folder / "data/phantom/cohort.csv")[:3]
    bad, cancelled, killed = (row["patient_id"] for row in rows)
    rows[0]["nct"] = str(folder / "nowhere")
    with (folder / "cohort.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    another = Cluster(cluster.slurm, cluster.code, folder / "run")

    # Of the second one the script is killed, as by the machine; Slurm itself did not end it.
    orders = {cancelled: [], killed: ["--signal=KILL", "--batch"]}
    orders = {f"rule_convert_wildcards_{name}": given for name, given in orders.items()}
    images = [f"results/convert/{row['patient_id']}/nct.nii.gz" for row in rows]
    cohort = (f"cohort={folder / 'cohort.csv'}",)
    done = another.snakemake(
        "--keep-going", *images, profile=PROFILE.parent, config=cohort, meanwhile=lambda: another.stop(orders)
    )
    assert done.returncode != 0
    assert f"patient {bad}: " in done.stdout
    assert "does not exist" in done.stdout
    assert [(another.folder / path).is_file() for path in images] == [False, True, True]
    mem_mb = _megabytes(_settings()["set-resources"]["convert"]["mem_mb"])
    ran = {}
    for job in cluster.slurm.jobs()[-6:]:
        ran.setdefault(job["Comment"].rpartition("_")[2], []).append((job["JobState"], job["MinMemoryNode"]))
    first, second = f"{mem_mb}M", f"{2 * mem_mb}M"
    assert ran == {
        bad: [("FAILED", first), ("FAILED", second)],
        cancelled: [("CANCELLED", first), ("COMPLETED", second)],
        killed: [("FAILED", first), ("COMPLETED", second)],
    }


def _rows(sheet: Path) -> list[dict[str, str]]:
    """Rows of a sheet, with absolute paths."""
    with sheet.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    files = ("ctpa", "nct", "ctpa_mask", "nct_truth")
    return [row | {key: str(sheet.parent / row[key]) for key in files if row[key]} for row in rows]
