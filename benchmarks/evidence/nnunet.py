"""A peer: nnU-Net v2's own trainer on the same crops, labels and split, its schedule ending at the run's steps.

Normalisation, sampling, augmentation, loss, optimiser and schedule are nnU-Net's; patch, batch and strides are ours and
the widths those of as many weights (see `benchmarks.nnunet`). It runs in float32, as nnU-Net does on a CPU.
"""

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

from benchmarks import nnunet
from benchmarks.evidence.methods import Material, Reader
from benchmarks.evidence.plan import Inference
from cpmn.config.train import Spacing, TrainConfig
from cpmn.files import read_json, write_json
from cpmn.images import image_like, read_image, voxel_ml
from cpmn.inference import CLASS_ML, Prediction
from cpmn.plan import PLAN_FILE, WEIGHTS_FILE, resample, working_image
from cpmn.train.cases import working_label
from cpmn.train.stage import write_history, write_weights

FOREGROUND_VOXELS = 10_000  # our choice: drawn per patient, more than most have (nnU-Net draws from all cases together)


def train(material: Material, folder: Path) -> None:
    """Train for `config.steps` steps and keep the last weights, as our recipe does."""
    torch.set_num_threads(material.threads)
    torch.manual_seed(material.config.seed)  # initial weights
    np.random.seed(material.config.seed)  # noqa: NPY002 - what nnU-Net's sampling and augmentation draw from
    config, spacing, work = material.config, _spacing(material.config), folder / "nnunet"
    shutil.rmtree(work, ignore_errors=True)  # an interrupted training begins again
    nnunet.use_folders(work)
    parts = {"train": material.usable("train"), "val": material.usable("validation")}
    names = parts["train"] + parts["val"]
    intensities = _intensities(material, parts["train"])
    for name in names:
        image, clot = _arrays(material, name)
        nnunet.write_case(work, name, normalised(image, intensities), clot, config)
    write_json(work / "nnUNet_preprocessed" / nnunet.DATASET / "splits_final.json", [parts])
    plans, weights = nnunet.matched_plans(config, spacing)
    trainer = nnunet.new_trainer(plans, 0, cases=len(names), epochs=round(config.steps / config.epoch_steps))
    rows = _train(trainer, config)
    settings = {"config": config.model_dump(mode="json"), "parameters": weights}
    write_json(folder / PLAN_FILE, settings | {"nnunet": plans, "intensities": intensities})
    write_history(rows, folder / "history.csv")
    weights_of = {name: value.clone() for name, value in trainer.network.state_dict().items()}  # some are there twice
    write_weights(weights_of, folder / WEIGHTS_FILE)


def _train(trainer: Any, config: TrainConfig) -> list[dict[str, Any]]:
    """nnU-Net's epochs without its online validation, checkpoints and plots. Steps must fill whole epochs."""
    if config.steps % config.epoch_steps:
        raise ValueError(f"{config.steps} steps are no multiple of epoch_steps, {config.epoch_steps}")
    loader, _ = trainer.get_dataloaders()
    began, rows = time.perf_counter(), []
    for epoch in range(trainer.num_epochs):
        trainer.current_epoch = epoch
        trainer.on_train_epoch_start()
        losses = [trainer.train_step(next(loader))["loss"] for _ in range(config.epoch_steps)]
        seconds, step = time.perf_counter() - began, (epoch + 1) * config.epoch_steps
        rows.append({"epoch": epoch + 1, "step": step, "seconds": seconds, "train_total": float(np.mean(losses))})
        print(f"step {step} of {config.steps}, loss {rows[-1]['train_total']:.3f}", flush=True)
    return rows


def load(folder: Path, how: Inference) -> Reader:
    """nnU-Net's sliding windows with our overlap, without mirroring; the class probability is `class_probability`."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor  # pyright: ignore[reportMissingImports]
    from safetensors.torch import load_file

    stored = read_json(folder / PLAN_FILE)
    spacing = _spacing(TrainConfig.model_validate(stored["config"]))
    nnunet.use_folders(folder / "nnunet")
    trainer = nnunet.new_trainer(stored["nnunet"], "all", cases=1)
    trainer.set_deep_supervision_enabled(False)
    predictor = nnUNetPredictor(
        tile_step_size=1 - how.overlap, use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False
    )
    plans, weights = trainer.plans_manager, load_file(folder / WEIGHTS_FILE)
    predictor.manual_initialization(
        trainer.network.eval(), plans, trainer.configuration_manager, [weights], trainer.dataset_json, "", None
    )

    def read(crop: sitk.Image) -> Prediction:
        working = working_image(crop, spacing)
        data = torch.from_numpy(normalised(sitk.GetArrayFromImage(working), stored["intensities"]))[None]
        with torch.autocast("cpu", torch.bfloat16, enabled=how.bfloat16):
            logits = predictor.predict_logits_from_preprocessed_data(data)
        probability = torch.softmax(logits.float(), 0)[1].numpy()
        if how.highest_hu is not None:
            probability[sitk.GetArrayViewFromImage(working) > how.highest_hu] = 0
        native = sitk.GetArrayFromImage(resample(image_like(probability, working), crop))
        if how.highest_hu is not None:
            native[sitk.GetArrayViewFromImage(crop) > how.highest_hu] = 0
        return Prediction(native, native, class_probability(probability, voxel_ml(working)))

    return read


def class_probability(probability: np.ndarray, ml: float) -> float:
    """Mean over the `CLASS_ML` where the probability is greatest: the rule of our class head, without the head."""
    count = max(round(CLASS_ML / ml), 1)
    return float(np.sort(probability, axis=None)[-count:].mean())


def normalised(hu: np.ndarray, intensities: dict[str, float]) -> np.ndarray:
    """nnU-Net's CTNormalization: clipped to the clots' percentiles, then standardised by their mean and SD."""
    low, high = intensities["percentile_00_5"], intensities["percentile_99_5"]
    clipped = np.clip(hu.astype(np.float32), low, high)
    return ((clipped - intensities["mean"]) / max(intensities["std"], 1e-8)).astype(np.float32)


def _intensities(material: Material, names: list[str]) -> dict[str, float]:
    """HU of clot voxels in the training patients: nnU-Net's fingerprint of the foreground."""
    random, found = np.random.default_rng(material.config.seed), []
    for name in names:
        image, clot = _arrays(material, name)
        if clot.any():
            found.append(random.choice(image[clot > 0], FOREGROUND_VOXELS))
    values = np.concatenate(found)
    low, high = np.percentile(values, [0.5, 99.5])
    figures = {"mean": values.mean(), "std": values.std(), "percentile_00_5": low, "percentile_99_5": high}
    return {name: float(value) for name, value in figures.items()}


def _arrays(material: Material, name: str) -> tuple[np.ndarray, np.ndarray]:
    folder, spacing = material.crops / name, _spacing(material.config)
    image = sitk.GetArrayFromImage(working_image(read_image(folder / "nct.nii.gz"), spacing))
    return image, working_label(read_image(folder / "embolus.nii.gz"), spacing)


def _spacing(config: TrainConfig) -> Spacing:
    assert config.spacing is not None, "the recipe names the working spacing"
    return config.spacing
