"""The peers: what they are given and what they give back."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from benchmarks.evidence import densenet, nnunet
from benchmarks.evidence.methods import Material, method_of
from benchmarks.evidence.plan import Inference
from cpmn.config.train import TrainConfig
from cpmn.files import read_json
from cpmn.model.inference import CLASS_ML
from cpmn.volume.images import write_image

HOW = Inference(overlap=0.25, bfloat16=False)
SPACING = (3.0, 3.0, 3.0)
NAMES = [f"phantom-{n:03d}" for n in range(1, 7)]


def chest(hu: float) -> sitk.Image:
    """Noise about `hu`, 32 voxels a side."""
    image = sitk.GetImageFromArray(np.random.default_rng(int(hu)).normal(hu, 5, (32, 32, 32)).astype(np.int16))
    image.SetSpacing(SPACING)
    return image


@pytest.fixture
def material(tmp_path) -> Material:
    """Six patients: those with PE are brighter, and hold a clot in the middle."""
    labels = {name: n % 2 for n, name in enumerate(NAMES)}
    for name, label in labels.items():
        hu, clot = chest(30 + 40 * label), np.zeros((32, 32, 32), np.uint8)
        clot[12:20, 12:20, 12:20] = label
        mask = sitk.GetImageFromArray(clot)
        mask.CopyInformation(hu)
        write_image(hu, tmp_path / name / "nct.nii.gz")
        write_image(mask, tmp_path / name / "embolus.nii.gz")
    config = TrainConfig(pathways=("nct",), spacing=SPACING, steps=16, epoch_steps=4, patch_size=(16, 16, 16))
    parts = {"train": NAMES[:4], "validation": NAMES[4:]}
    return Material("densenet", parts, tmp_path, {}, labels, set(), config, threads=1)


@pytest.mark.slow
def test_the_whole_crop_classifier_learns_what_tells_patients_apart(material, tmp_path, monkeypatch):
    monkeypatch.setattr(densenet, "SHAPE", (32, 32, 32))
    material = replace(material, config=material.config.model_copy(update={"steps": 40}))  # batch norm's means lag
    method = method_of("densenet")
    method.train(material, tmp_path / "model")
    read = method.load(tmp_path / "model", HOW)
    bright, dark = (read(chest(hu)) for hu in (70, 30))
    assert bright.class_probability > dark.class_probability
    assert bright.probability.shape == (32, 32, 32)
    assert not bright.probability.any()
    stored = read_json(tmp_path / "model" / "plan.json")
    assert TrainConfig.model_validate(stored["config"]) == material.config
    assert stored["parameters"] == sum(weight.numel() for weight in densenet.build(0).parameters())


def test_the_classifier_sees_the_middle_of_a_large_crop_and_air_round_a_small_one(monkeypatch):
    monkeypatch.setattr(densenet, "SHAPE", (16, 32, 48))
    config = TrainConfig(clip=4.0)
    seen = densenet.volume(chest(45), config).numpy()[0]
    assert seen.shape == (16, 32, 48)
    assert (seen[:, :, :8] == -4.0).all()
    assert abs(seen[:, :, 8:40].mean()) < 0.1


def test_batches_hold_both_classes():
    labels = np.array([1, 0, 0, 0, 0])
    random = np.random.default_rng(0)
    assert all(sorted(labels[densenet.balanced(labels, random)]) == [0, 1] for _ in range(20))


def test_peers_leave_out_what_quality_control_left_out(material):
    excluded = replace(material, excluded={NAMES[0]: "failed registration"})
    assert excluded.usable("train") == NAMES[1:4]


def test_normalisation_is_nnunets():
    facts = {"mean": 50.0, "std": 10.0, "percentile_00_5": 30.0, "percentile_99_5": 80.0}
    assert nnunet.normalised(np.array([-1000, 50, 60, 900]), facts).tolist() == [-2.0, 0.0, 1.0, 3.0]


def test_the_score_of_a_probability_map_is_the_mean_where_it_is_most_suspicious():
    values = np.zeros((10, 10, 10))
    values[0, 0, :2] = 0.9, 0.7
    assert nnunet.class_probability(values, CLASS_ML / 2) == pytest.approx(0.8)
    assert nnunet.class_probability(values, CLASS_ML / 4) == pytest.approx(0.4)


def test_nnunet_trains_on_the_crops_and_reads_one(material, tmp_path):
    pytest.importorskip("nnunetv2", reason="nnU-Net v2 is not installed: see benchmarks/nnunet.py")
    method = method_of("nnunet")
    method.train(material, tmp_path / "model")
    found = method.load(tmp_path / "model", HOW)(chest(70))
    assert found.probability.shape == (32, 32, 32)
    assert 0 < found.class_probability < 1
    history = (tmp_path / "model" / "history.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in history[1:]] == ["4", "8", "12", "16"]
