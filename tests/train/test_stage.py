import csv
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import psutil
import pytest
import SimpleITK as sitk
import torch
from safetensors.torch import load_file

import cpmn.train.hard as hard
from cpmn.anatomy.artery_vein import VEIN
from cpmn.config.train import TrainConfig
from cpmn.config.variants import BASES, resolve_variant
from cpmn.errors import CpmnError
from cpmn.model.inference import load_model, predict_crop
from cpmn.model.network import build_pathway
from cpmn.model.plan import read_plan
from cpmn.scoring.overlap import dice
from cpmn.train.engine import COLUMNS
from cpmn.train.fold import FoldJob
from cpmn.train.launch import launch_fold
from cpmn.train.processes import World
from cpmn.train.resume import ResumeFolder
from cpmn.train.stage import _subjects, _taught, _usable, write_weights
from cpmn.train.subjects import Subject
from cpmn.train.training import start_training
from cpmn.volume.images import image_like, read_image, write_image
from tests.train.conftest import PATIENTS, SPACING


class Stopped(Exception):
    pass


def stop_after(step: int):
    def hook(done: int) -> None:
        if done == step:
            raise Stopped

    return hook


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def without_time(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_training_writes_the_contract(run_training, tmp_path):
    folder = run_training(tmp_path / "model")
    assert sorted(path.name for path in folder.iterdir()) == [
        *("ctpa.safetensors", "history.csv", "model.safetensors", "plan.json")
    ]
    plan = read_plan(folder)
    assert (plan.variant, plan.fold, plan.seed, plan.spacing) == ("cpmn", 0, 0, (3.0, 3.0, 4.0))
    assert plan.device == "cpu"
    assert plan.fingerprint["patients"] == 4
    assert plan.fingerprint["pe"] == 2
    assert plan.parameters == sum(weight.numel() for weight in load_file(folder / "model.safetensors").values())
    assert plan.fingerprint["clot_hu"][1] == pytest.approx(95, abs=3)
    rows = history(folder)
    assert tuple(rows[0]) == COLUMNS
    assert [row["step"] for row in rows] == ["2", "4", "6"]
    assert all(row["train_mutual"] and row["train_alignment"] and row["train_discrepancy"] for row in rows)
    assert [bool(row["validation_loss"]) for row in rows] == [False, True, True]


def test_model_holds_the_nct_pathway_alone(run_training, tmp_path, crops):
    folder = run_training(tmp_path)
    expected = build_pathway((8, 8), read_plan(folder).strides, 0).state_dict()
    stored = load_file(folder / "model.safetensors")
    assert {name: value.shape for name, value in stored.items()} == {n: v.shape for n, v in expected.items()}
    prediction = predict_crop(load_model(folder), read_image(crops / "p2" / "nct.nii.gz"))
    assert prediction.probability.shape == (16, 32, 32)


def test_same_seed_same_bytes(run_training, tmp_path, make_config):
    first, same = run_training(tmp_path / "a"), run_training(tmp_path / "b")
    other = run_training(tmp_path / "c", make_config(seed=1))
    assert weights(first) == weights(same) != weights(other)
    assert (first / "plan.json").read_bytes() == (same / "plan.json").read_bytes()
    assert without_time(history(first)) == without_time(history(same))


@pytest.mark.parametrize("step", [1, 3, 5])
def test_resumed_training_equals_an_uninterrupted_one(run_training, tmp_path, step):
    whole = run_training(tmp_path / "whole")
    with pytest.raises(Stopped):
        run_training(tmp_path / "cut", on_step=stop_after(step))
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == [".resume"]
    steps: list[int] = []
    resumed = run_training(tmp_path / "cut", on_step=steps.append)
    assert steps[0] == step // 2 * 2 + 1  # goes on after the last saved step
    assert weights(resumed) == weights(whole)
    assert without_time(history(resumed)) == without_time(history(whole))
    assert not (resumed / ".resume").exists()


def test_how_a_training_runs_may_change_while_it_is_interrupted(run_training, tmp_path, make_config):
    with pytest.raises(Stopped):
        run_training(tmp_path / "a", make_config(save_every=2), on_step=stop_after(4))
    steps = []
    changed = make_config(save_every=3, device="cpu", folds=3, test_fraction=0.5)
    run_training(tmp_path / "a", changed, on_step=steps.append)
    assert steps == [5, 6]
    assert weights(tmp_path / "a") == weights(run_training(tmp_path / "b"))


def test_changed_data_start_afresh(run_training, tmp_path, crops):
    mine = tmp_path / "crops"
    shutil.copytree(crops, mine)
    with pytest.raises(Stopped):
        run_training(tmp_path / "model", crops=mine, on_step=stop_after(5))
    shutil.copy(mine / "n0" / "nct.nii.gz", mine / "n1" / "nct.nii.gz")
    steps: list[int] = []
    run_training(tmp_path / "model", crops=mine, on_step=steps.append)
    assert steps == [1, 2, 3, 4, 5, 6]


def test_no_volume_is_open_when_the_volumes_are_removed(run_training, tmp_path, monkeypatch):
    open_then = []
    maps = Path("/proc/self/maps")
    monkeypatch.setattr(ResumeFolder, "remove", lambda own: open_then.append(str(own.volumes) in maps.read_text()))
    if not maps.exists():
        pytest.skip("only Linux lists what is mapped into memory")
    run_training(tmp_path, on_step=lambda _: open_then.append(str(tmp_path) in maps.read_text()))
    assert open_then == [True] * 6 + [False]


def test_epochs_are_reported(run_training, tmp_path):
    rows: list[dict] = []
    folder = run_training(tmp_path, on_epoch=rows.append)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert float(history(folder)[-1]["validation_loss"]) == rows[-1]["validation_loss"]


@pytest.mark.parametrize("base", BASES)
def test_every_base_trains(run_training, tmp_path, base, make_config):
    config = resolve_variant(make_config(steps=2), base, {})
    folder = run_training(tmp_path, config, variant=base)
    assert read_plan(folder).variant == base
    assert bool(history(folder)[-1]["train_segmentation_ctpa"]) == ("ctpa" in config.network.pathways)


def test_the_baseline_reads_no_ctpa(run_training, tmp_path, crops, make_config):
    mine = tmp_path / "crops"
    shutil.copytree(crops, mine)
    for file in mine.glob("*/ctpa.nii.gz"):
        file.unlink()
    config = make_config(**BASES["nct_only"])
    first, second = run_training(tmp_path / "a", config), run_training(tmp_path / "b", config, crops=mine)
    assert weights(first) == weights(second)


def test_patients_without_ctpa_train_too(run_training, tmp_path, crops):
    mine = tmp_path / "crops"
    shutil.copytree(crops, mine)
    (mine / "p0" / "ctpa.nii.gz").unlink()
    folder = run_training(tmp_path / "model", crops=mine, paired=set(PATIENTS) - {"p0"})
    assert read_plan(folder).fingerprint["paired"] == 3


def test_variants_start_from_the_same_nct_weights(tmp_path, make_config):
    starts = {}
    for base in BASES:
        config = resolve_variant(make_config(), base, {})
        state = start_training(config, ((2, 2, 2),), torch.device("cpu"), ResumeFolder(tmp_path, "k" * 64))
        starts[base] = state.pathways["nct"].state_dict()
        assert set(state.pathways) == set(config.network.pathways)
    for base in BASES:
        assert all(torch.equal(starts[base][name], value) for name, value in starts["cpmn"].items())


def test_excluded_patients_are_skipped(run_training, tmp_path, caplog):
    folder = run_training(tmp_path, excluded={"n1": "registration failed"})
    assert read_plan(folder).fingerprint["patients"] == 3
    assert "patient n1 takes no part in training: registration failed" in caplog.text


def test_a_diverged_training_leaves_no_model(run_training, tmp_path, make_config):
    with pytest.raises(CpmnError, match=r"the training diverged: the loss of step \d+ is (nan|inf)\. Lower"):
        run_training(tmp_path, make_config(learning_rate=1e6))
    assert not (tmp_path / "model.safetensors").exists()


def test_weights_that_are_no_numbers_are_not_written(tmp_path):
    with pytest.raises(CpmnError, match="weights are not numbers"):
        write_weights({"weight": torch.tensor([1.0, float("nan")])}, tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_nobody_left_to_train_on(run_training, tmp_path):
    with pytest.raises(CpmnError, match=r"no PE patient with an NCT is left to train on \(2 others\)"):
        run_training(tmp_path, excluded={"p0": "bad", "p1": "bad"})


@pytest.mark.parametrize(
    ("variant", "excluded", "helps"),
    [
        ("annotate", ("p0", "p1"), True),
        ("annotate", ("p0", "p1", "p2"), False),
        ("cpmn", ("p0", "p1"), False),
    ],
)
def test_a_network_of_annotate_may_learn_from_who_is_held_from_it(run_training, tmp_path, variant, excluded, helps):
    with pytest.raises(CpmnError, match="no PE patient with an NCT is left to train on") as error:
        run_training(tmp_path, variant=variant, excluded=dict.fromkeys(excluded, "bad"))
    assert ("With annotate.folds: 1 one network learns from all of them" in str(error.value)) is helps


def test_a_network_without_any_outline_learns_to_mark_clots(run_training, tmp_path, make_config, crops):
    """It sees simulated ones, and of the patients with PE the yes or no; one that it never saw is marked."""
    options = {"pathways": ("nct",), "discrepancy_weight": 0.0, "annotated": False, "simulated_hu": (50, 50)}
    short = {"steps": 200, "batch_size": 4, "learning_rate": 5e-3, "validation_every": 200}
    config = make_config(simulated_fraction=0.5, **options, **short)
    folder = run_training(tmp_path, config, paired=(), reported=("p0", "p1"), validation=())
    nct, embolus = (read_image(crops / "p2" / f"{name}.nii.gz") for name in ("nct", "embolus"))
    probability = predict_crop(load_model(folder), nct).probability
    assert dice(probability >= 0.5, sitk.GetArrayFromImage(embolus) > 0) > 0.4


def _someone(**given):
    """A subject as far as `_taught` looks at it: an outlined pair with PE, but for what is given."""
    facts = {"label": 1, "outlined": True, "clot_voxels": [0], "vessel_voxels": [0], "nct": "scan", "ctpa": "scan"}
    facts |= {"complete": given.get("outlined", True)} | given
    return cast(Subject, SimpleNamespace(**facts))


OUTLINED_NCT, NORMAL = _someone(ctpa=None), _someone(label=0, clot_voxels=[])
OUTLINED_CTPA, REPORTED = _someone(nct=None), _someone(outlined=False, clot_voxels=[])
TWO, ONE = {"network": {"pathways": ["nct", "ctpa"]}}, {"network": {"pathways": ["nct"]}}


@pytest.mark.parametrize(
    ("subjects", "settings", "teaches"),
    [
        ([_someone(), REPORTED, NORMAL], TWO, True),
        ([OUTLINED_CTPA, REPORTED, NORMAL], TWO, True),
        ([OUTLINED_NCT, REPORTED, NORMAL], TWO, False),  # its CTPA pathway has seen no clot
        ([OUTLINED_NCT, REPORTED, NORMAL], TWO | {"sampling": {"simulated_fraction": 0.5}}, True),
    ],
)
def test_a_ctpa_pathway_that_saw_no_clot_does_not_teach_that_there_are_none(subjects, settings, teaches):
    config = TrainConfig.model_validate(settings)
    assert (_taught(subjects, config).loss.teaching_weight > 0) is teaches


@pytest.mark.parametrize(("subjects", "settings"), [([REPORTED, NORMAL], TWO), ([OUTLINED_CTPA, REPORTED], ONE)])
def test_nobody_who_says_where_clots_are(subjects, settings):
    with pytest.raises(CpmnError, match=r"nobody with an NCT who trains has an outline of a clot"):
        _taught(subjects, TrainConfig.model_validate(settings))
    simulating = TrainConfig.model_validate(settings | {"sampling": {"simulated_fraction": 0.5}})
    _taught([*subjects, NORMAL], simulating)
    with pytest.raises(CpmnError, match=r"nobody with an NCT who trains has an outline of a clot"):
        _taught([*subjects[:1], _someone(label=0, clot_voxels=[], vessel_voxels=[])], simulating)


def test_without_anybody_who_tells_where_no_clot_is_there_is_a_warning(caplog):
    caplog.set_level("INFO")
    _usable([REPORTED, NORMAL], TrainConfig())
    assert "add patients without PE" not in caplog.text
    _usable([REPORTED, _someone(complete=False)], TrainConfig())
    assert "add patients without PE" in caplog.text
    assert "1 PE, by the label alone, 1 PE, outlined by annotate" in caplog.text


ALONE = [OUTLINED_CTPA, REPORTED, NORMAL]


@pytest.mark.parametrize(
    ("base", "loss"),
    [("nct_only", {}), ("ctpa_pretrained", {}), ("shuffled_ctpa", {}), ("cpmn", {"teaching_weight": 0.0})],
)
def test_an_outline_on_a_ctpa_alone_says_nothing_to_an_nct_that_its_pathway_does_not_teach(base, loss):
    config = resolve_variant(TrainConfig(), "mine", {"mine": {"base": base, "loss": loss}})
    with pytest.raises(CpmnError, match=r"nobody with an NCT who trains has an outline of a clot"):
        _taught(ALONE, config)
    assert _taught(ALONE, resolve_variant(TrainConfig(), "cpmn", {})).loss.teaching_weight > 0


def test_missing_crop(run_training, tmp_path, crops):
    mine = tmp_path / "crops"
    shutil.copytree(crops, mine)
    (mine / "p1" / "embolus.nii.gz").unlink()
    with pytest.raises(CpmnError, match=r"p1/embolus\.nii\.gz\. Run the crop stage first"):
        run_training(tmp_path / "model", crops=mine)


def test_pe_without_clot_in_the_crop(run_training, tmp_path, crops, caplog):
    mine = tmp_path / "crops"
    shutil.copytree(crops, mine)
    shutil.copy(mine / "n0" / "embolus.nii.gz", mine / "p0" / "embolus.nii.gz")
    run_training(tmp_path / "a", crops=mine)
    assert "patient p0 has PE but no clot inside the crop" in caplog.text
    shutil.copy(mine / "n0" / "embolus.nii.gz", mine / "p1" / "embolus.nii.gz")
    with pytest.raises(CpmnError, match="no PE patient has a clot inside the crop"):
        run_training(tmp_path / "b", crops=mine)


GIVEN = """
import sys
from cpmn.train.fold import FoldJob
from cpmn.train.fold import FoldJob
from cpmn.train.launch import launch_fold
from cpmn.train.stage import train_fold

job = FoldJob.model_validate_json(sys.argv[1])
"""


def started(call: str, job: FoldJob) -> subprocess.Popen[str]:
    """A process that makes the call of training, with `job`."""
    return subprocess.Popen(
        [sys.executable, "-c", GIVEN + call, job.model_dump_json()], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_killed_training_goes_on(run_training, make_config, make_job, tmp_path):
    config = make_config(steps=40, save_every=5)
    call = "train_fold(job, on_step=lambda step: print(step, flush=True))"
    process = started(call, make_job(tmp_path / "killed", config))
    assert process.stdout
    for line in process.stdout:
        if int(line) >= 13:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    steps: list[int] = []
    resumed = run_training(tmp_path / "killed", config, on_step=steps.append)
    assert steps[0] >= 11
    assert weights(resumed) == weights(run_training(tmp_path / "whole", config))


@pytest.mark.slow
def test_a_visible_clot_is_learnt(run_training, tmp_path, make_config):
    config = make_config(steps=150, batch_size=4, channels=(8, 16), epoch_steps=50, learning_rate=5e-3)
    folder = run_training(tmp_path, config)
    last = history(folder)[-1]
    assert float(last["validation_dice"]) > 0.5
    assert float(last["validation_auc"]) == 1.0


def test_all_sampling_options_train_and_resume(run_training, tmp_path, make_config):
    config = make_config(
        foreground_fraction=0.3,
        elsewhere_fraction=0.2,
        blood_window=True,
        absolute_hu=True,
        visibility_floor=0.2,
        simulated_fraction=0.5,
        flip_axes=("x", "y", "z"),
        rotation_degrees=15,
        scaling=0.1,
    )
    whole = run_training(tmp_path / "whole", config)
    with pytest.raises(Stopped):
        run_training(tmp_path / "cut", config, on_step=stop_after(3))
    assert weights(run_training(tmp_path / "cut", config)) == weights(whole)


@pytest.mark.parametrize("step", [1, 2, 5])  # before they are known, when they are due, after
def test_hard_negatives_are_found_and_resume_exactly(run_training, tmp_path, make_config, monkeypatch, step):
    """After 2 and 4 of 6 steps; the tiny network gives no voxel the probability that is asked for."""
    monkeypatch.setattr(hard, "PROBABILITY", 0.005)
    config = make_config(hard_fraction=0.5, foreground_fraction=0.5, save_every=1)
    whole = run_training(tmp_path / "whole", config)
    assert weights(whole) != weights(run_training(tmp_path / "plain", make_config(foreground_fraction=0.5)))
    with pytest.raises(Stopped):
        run_training(tmp_path / "cut", config, on_step=stop_after(step))
    assert weights(run_training(tmp_path / "cut", config)) == weights(whole)


ENGINE = {"accumulation": 2, "ema_decay": 0.5, "bfloat16": True, "channels_last": True}


@pytest.mark.parametrize("step", [2, 3, 5])
def test_all_engine_options_resume_exactly(run_training, tmp_path, make_config, step):
    config = make_config(**ENGINE, validation_every=1)
    whole = run_training(tmp_path / "whole", config)
    with pytest.raises(Stopped):
        run_training(tmp_path / "cut", config, on_step=stop_after(step))
    resumed = run_training(tmp_path / "cut", config)
    assert weights(resumed) == weights(whole)
    assert without_time(history(resumed)) == without_time(history(whole))


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_pretraining_resumes_exactly(run_training, tmp_path, make_config, step):
    config = make_config(**BASES["ctpa_pretrained"], save_every=1)
    whole = run_training(tmp_path / "whole", config)
    with pytest.raises(Stopped):
        run_training(tmp_path / "cut", config, on_step=stop_after(step))
    assert weights(run_training(tmp_path / "cut", config)) == weights(whole)


def test_pretraining_needs_a_ctpa(run_training, tmp_path, make_config):
    with pytest.raises(CpmnError, match="pretraining on CTPA needs a PE patient with a CTPA"):
        run_training(tmp_path, make_config(**BASES["ctpa_pretrained"]), paired={"n0", "n1"})


def together(job: FoldJob, processes: int) -> list[dict]:
    rows: list[dict] = []
    config = job.config.changed(machine={"processes": processes})
    launch_fold(job.model_copy(update={"config": config, "threads": processes}), on_epoch=rows.append)
    return rows


def test_each_process_makes_the_volumes_of_its_share_and_reads_all(make_job, tmp_path, monkeypatch):
    """The second of two, whose wait is for the first's."""
    job, made = make_job(tmp_path), []
    monkeypatch.setattr(World, "wait", lambda _: made.extend(path.parent.name for path in tmp_path.glob("*/complete")))
    parts = _subjects(job, SPACING, tmp_path, World(rank=1, size=2))
    assert sorted(made) == sorted(job.patients[1::2])
    assert tuple(subject.patient for part in parts for subject in part) == job.patients


def test_what_annotate_outlined_is_not_taken_for_all_there_is(make_job, tmp_path, make_config):
    """Networks outlined p0. Where they are not to be heard nobody did; n0 has no PE, so that nothing is passed over."""
    for annotated in (True, False):
        job = make_job(tmp_path, make_config(annotated=annotated), reported=("p0", "n0", "p2"))
        training, validation = _subjects(job, SPACING, tmp_path / "volumes", World())
        known = {one.patient: (one.outlined, one.complete) for one in training}
        assert known == {"n0": (True, True), "p0": (annotated, False), "n1": (True, True), "p1": (True, True)}
        assert [one.outlined for one in validation] == [True, False]  # p2 is never held against a network's outline


@pytest.mark.slow
def test_two_processes_equal_one(make_job, tmp_path, make_config):
    """gloo through torchrun; the gradients are the same mean in another order. Two patients have no CTPA."""
    config = make_config(accumulation=4, ema_decay=0.5, save_every=4)
    jobs = [make_job(tmp_path / name, config, paired={"n1", "p1", "n2", "p2"}) for name in ("one", "two")]
    alone, shared = together(jobs[0], 1), together(jobs[1], 2)
    assert [row["step"] for row in shared] == [2, 4, 6]
    for one, two in zip(alone, shared, strict=True):
        for name in COLUMNS:
            if isinstance(one[name], float) and name != "seconds":
                assert two[name] == pytest.approx(one[name], rel=1e-3), name
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    assert all(torch.allclose(one[name], two[name], rtol=1e-3, atol=1e-5) for name in one)
    assert not (tmp_path / "two" / ".resume").exists()


@pytest.mark.slow
def test_processes_of_a_killed_launcher_end_and_the_training_goes_on(make_job, tmp_path, make_config):
    config = make_config(accumulation=2, processes=2, steps=40, validation_every=20)
    call = 'launch_fold(job, on_epoch=lambda row: print(row["step"], flush=True))'
    launcher = started(call, make_job(tmp_path / "killed", config, threads=2))
    assert launcher.stdout
    assert int(launcher.stdout.readline()) == 2
    children = psutil.Process(launcher.pid).children(recursive=True)
    assert len(children) >= 3  # torchrun and its two
    launcher.kill()
    launcher.wait()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
    assert list((tmp_path / "killed" / ".resume").glob("*/state.pt"))
    rows, whole = together(make_job(tmp_path / "killed", config), 2), together(make_job(tmp_path / "whole", config), 1)
    assert rows[0]["step"] > 2
    assert rows[-1]["train_total"] == pytest.approx(whole[-1]["train_total"], rel=1e-3)


@pytest.mark.slow
def test_a_failing_process_fails_the_fold(make_job, tmp_path, make_config):
    with pytest.raises(CpmnError, match="training in 2 processes failed"):
        together(make_job(tmp_path, make_config(accumulation=2), crops=tmp_path), 2)


def test_a_process_says_a_mistake_of_the_user_in_one_message_and_in_the_log(make_job, tmp_path):
    job, log = tmp_path / "job.json", tmp_path / "train.log"
    job.write_text(make_job(tmp_path / "model", training=["n0", "n1"]).model_dump_json())
    log.write_text("before\n")
    command = [sys.executable, "-m", "cpmn.train", str(job), str(log)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout
        said = process.stdout.read().decode()  # its standard input stays open: it ends by itself
    assert process.returncode == 2
    assert "Traceback" not in said
    for text in (said, log.read_text()):
        assert text.count("no PE patient with an NCT is left to train on") == 1
    assert log.read_text().startswith("before\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{"bfloat16": True}, {"accumulation": 2, "batch_size": 2, "ema_decay": 0.9}],
    ids=["bfloat16", "accumulated"],
)
def test_options_learn_a_visible_clot_too(run_training, tmp_path, make_config, options):
    config = make_config(
        steps=150, epoch_steps=50, learning_rate=5e-3, channels=(8, 16), **({"batch_size": 4} | options)
    )
    assert float(history(run_training(tmp_path, config))[-1]["validation_dice"]) > 0.5


def test_a_planned_network_trains_and_reads(run_training, tmp_path, crops, make_config):
    folder = run_training(tmp_path, make_config(planned=True, memory_gb=0.02, steps=2))
    plan = read_plan(folder)
    assert plan.channels == (16, 32)  # given were 8 and 8
    assert plan.training_mb is not None
    assert plan.training_mb <= 20
    assert predict_crop(load_model(folder), read_image(crops / "p2" / "nct.nii.gz")).probability.shape == (16, 32, 32)


@pytest.fixture
def masked_crops(crops, tmp_path) -> Path:
    """The crops, and of n0 a vessel mask; n1's was left out, which leaves an empty file."""
    folder = tmp_path / "masked"
    shutil.copytree(crops, folder)
    nct = read_image(folder / "n0" / "nct.nii.gz")
    vessels = np.where(sitk.GetArrayFromImage(nct) > 0, VEIN, 0).astype(np.uint8)
    write_image(image_like(vessels, nct), folder / "n0" / "vessels.nii.gz")
    (folder / "n1" / "vessels.nii.gz").write_bytes(b"")
    return folder


def test_veins_change_the_training_only_if_asked_for(run_training, tmp_path, masked_crops, make_config):
    def trained(name: str, masked: set[str], **changes) -> bytes:
        return weights(run_training(tmp_path / name, make_config(**changes), crops=masked_crops, masked=masked))

    plain = trained("plain", set())
    assert trained("off", {"n0", "n1"}) == plain
    assert trained("on", {"n0", "n1"}, vein_fraction=0.5) != plain


def test_veins_without_a_mask(run_training, tmp_path, masked_crops, make_config):
    for masked in (set(), {"n1"}):
        with pytest.raises(
            CpmnError, match=r"no training patient has a vessel mask with veins\. Name masks in the col"
        ):
            run_training(tmp_path / "m", make_config(vein_fraction=0.5), crops=masked_crops, masked=masked)


def test_without_a_normal_there_are_no_hard_negatives_and_training_goes_on(run_training, tmp_path, make_config, caplog):
    folder = run_training(tmp_path / "m", make_config(hard_fraction=0.25), training=["p0", "p1"])
    assert weights(folder)
    assert "nobody without PE trains: there are no hard negatives" in caplog.text


def test_a_lone_ctpa_cannot_be_shuffled(run_training, tmp_path, make_config):
    with pytest.raises(CpmnError, match="shuffled needs at least two patients with a CTPA"):
        run_training(tmp_path / "m", make_config(ctpa_source="shuffled"), paired={"p0"})
