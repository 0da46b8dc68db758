"""DVC as its users know it, for real: reproduce, experiments, remotes, another version of the data."""

import csv
import json
import shutil
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("dvc")]

PREPROCESSING = "results/[crp][ero][gnop]*/*/*.nii.gz"  # convert, register, propagate, crop
MODEL = "results/train/nct_only/fold-0/model.safetensors"
UP_TO_DATE = "Data and pipelines are up to date"
NOTHING = "Nothing to be done"


@pytest.fixture
def copy(project, tmp_path):
    """A copy of the reproduced project, files and all, to be changed."""
    folder = tmp_path / "copy"
    shutil.copytree(project.folder, folder, symlinks=True)
    return type(project)(folder)


def metric_values(repository) -> dict[str, dict[str, float]]:
    return json.loads((repository.folder / "results/evaluate/summary.json").read_text())


def test_the_demo_s_files_are_made_and_a_second_repro_does_nothing(project):
    assert (project.folder / "results/report/index.html").is_file()
    assert UP_TO_DATE in project.run("dvc", "repro")
    assert NOTHING in project.run("snakemake", "--cores", "2")
    assert set(metric_values(project)) == {"nct_only"}
    shown = json.loads(project.run("dvc", "metrics", "show", "--json"))
    assert shown[""]["data"]["results/evaluate/summary.json"]["data"] == metric_values(project)


def test_changed_report_code_trains_nothing(bench):
    path = bench.folder / "cpmn/report/limits.py"
    path.write_text(path.read_text() + "\n# changed\n")
    out = bench.run("dvc", "repro", "--dry")
    assert "Stage 'phantom' didn't change" in out
    assert "Running stage 'report'" in out
    planned = bench.run("snakemake", "--cores", "2", "--dry-run").partition("Job stats:")[2].partition("total")[0]
    assert "report" in planned
    assert "train" not in planned


def test_an_experiment_trains_again_and_can_be_compared(bench):
    before, model = bench.times(PREPROCESSING), (bench.folder / MODEL).read_bytes()
    assert before
    out = bench.run(
        "dvc", "exp", "run", "--name", "longer", "--set-param", "config/config.yaml:train.schedule.steps=12"
    )
    assert "Stage 'phantom' didn't change" in out
    assert bench.times(PREPROCESSING) == before
    assert (bench.folder / MODEL).read_bytes() != model
    table = list(csv.DictReader(bench.run("dvc", "exp", "show", "--csv").splitlines()))
    steps = {row["Experiment"] or row["rev"]: row["train.schedule.steps"] for row in table}
    assert (steps["longer"], steps["workspace"]) == ("12", "12")
    assert json.loads(bench.run("dvc", "params", "diff", "--json"))["config/config.yaml"]["train.schedule.steps"] == {
        "old": 8,
        "new": 12,
        "diff": 4,
    }
    figures = json.loads(bench.run("dvc", "metrics", "diff", "--all", "--json"))
    assert "nct_only.auc" in figures["results/evaluate/summary.json"]
    for command, page in ((("show",), "show"), (("diff", "HEAD"), "diff")):
        bench.run("dvc", "plots", *command, "--out", page)
        text = (bench.folder / page / "index.html").read_text()
        assert all(title in text for title in ("Loss", "Validation Dice", "ROC"))
    rows = (bench.folder / "results/train/nct_only/fold-0/history.csv").read_text().splitlines()
    assert len(rows) == 1 + 3  # a row each four steps


def assert_restored(clone, project):
    """Everything versioned is back, and neither tool computes anything."""
    assert (clone.folder / MODEL).read_bytes() == (project.folder / MODEL).read_bytes()
    assert (clone.folder / "data/phantom/cohort.csv").is_file()
    assert not (clone.folder / "results/convert").exists()
    clone.run("snakemake", "--cores", "2", "--touch", "all")  # as `make pull` does
    before = clone.times("results/**/*")
    assert UP_TO_DATE in clone.run("dvc", "repro")
    assert NOTHING in clone.run("snakemake", "--cores", "2")
    assert clone.times("results/**/*") == before


def test_a_fresh_clone_gets_everything_from_s3(copy, project, tmp_path, stand_in_for_s3):
    pytest.importorskip("dvc_s3", reason="dvc-s3 not installed: pip install -e '.[s3-test]'")
    copy.run("dvc", "remote", "add", "--default", "store", "s3://cpmn/store")
    copy.run("dvc", "remote", "modify", "store", "endpointurl", stand_in_for_s3)
    copy.commit("Name the remote")
    copy.run("dvc", "push")
    clone = copy.clone(tmp_path / "clone")
    clone.run("dvc", "pull")
    assert_restored(clone, project)


def entry_of(store: Path, file: Path) -> Path:
    """The file of a DVC cache or remote that holds the contents of `file`."""
    return next(path for path in store.glob("files/md5/*/*") if path.read_bytes() == file.read_bytes())


def damage(path: Path) -> None:
    """Flip a bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(content))


def test_a_damaged_file_of_the_remote_is_named_and_not_used(copy, tmp_path):
    copy.run("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    copy.run("dvc", "remote", "modify", "store", "verify", "true")
    copy.commit("Name the remote")
    copy.run("dvc", "push")
    damage(entry_of(tmp_path / "store", copy.folder / MODEL))
    clone = copy.clone(tmp_path / "clone")
    done = clone.attempt("dvc", "pull", "train")
    assert done.returncode != 0
    assert "results/train" in done.stdout
    assert not (clone.folder / MODEL).exists()


def test_a_damaged_entry_of_the_cache_shows_as_a_changed_output(copy):
    damage(entry_of(copy.folder / ".dvc/cache", copy.folder / MODEL))
    shutil.rmtree(copy.folder / "results/train")
    copy.run("dvc", "checkout", "train")
    status = copy.run("dvc", "status", "train")
    assert "results/train" in status.partition("changed outs:")[2]


def test_the_how_to_add_a_patient_compare_and_go_back(bench):
    """docs/how-to/dvc.md, step by step, with the phantom as a cohort of one's own; its last patient comes later."""
    source, cohort = bench.folder / "data/phantom", bench.folder / "data/pe"
    own = shutil.ignore_patterns(".snakemake*")  # a cohort of one's own is not made by Snakemake
    shutil.copytree(source, cohort, ignore=own)
    lines = (cohort / "cohort.csv").read_text().splitlines(keepends=True)
    newcomer = lines[-1].split(",")[0]
    (cohort / "cohort.csv").write_text("".join(lines[:-1]))
    shutil.rmtree(cohort / newcomer)
    for made in bench.folder.glob(f"results/*/{newcomer}"):
        shutil.rmtree(made)
    bench.run("dvc", "add", "data/pe")
    bench.configure(cohort="data/pe/cohort.csv")
    sheet = bench.folder / "dvc.yaml"
    sheet.write_text(sheet.read_text().replace("data: data/phantom #", "data: data/pe #"))
    prepared = [f"results/crop/phantom-00{number}/status.json" for number in range(1, 8)]
    bench.run("snakemake", "--cores", "2", "--touch", *prepared)  # the same scans in another folder
    bench.run("dvc", "repro", "report")
    first, model = bench.commit("Seven patients"), (bench.folder / MODEL).read_bytes()

    others = bench.times("results/crop/phantom-00[1-7]/*")
    shutil.copytree(source / newcomer, cohort / newcomer, ignore=own)
    (cohort / "cohort.csv").write_text("".join(lines))
    bench.run("dvc", "add", "data/pe")
    bench.run("dvc", "repro", "report")
    assert bench.times("results/crop/phantom-00[1-7]/*") == others
    assert (bench.folder / "results/crop" / newcomer / "crop.json").is_file()
    assert "data/pe.dvc" in bench.run("git", "status", "--short")
    assert "data/pe" in bench.run("dvc", "diff", first)
    bench.run("dvc", "metrics", "diff", first)
    bench.commit("Eight patients")

    bench.run("git", "checkout", "--quiet", first)
    bench.run("dvc", "checkout")
    assert (cohort / "cohort.csv").is_file()
    assert not (cohort / newcomer).exists()
    assert (bench.folder / MODEL).read_bytes() == model
    assert UP_TO_DATE in bench.run("dvc", "status", "report")
