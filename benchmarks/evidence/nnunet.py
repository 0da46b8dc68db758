"""A peer: nnU-Net v2's own trainer on the same crops, labels and split, its schedule ending at the run's steps.

Normalisation, sampling, augmentation, loss, optimiser and schedule are nnU-Net's; patch, batch and strides are ours and
the widths those of as many weights (see `benchmarks.nnunet`). It runs in float32, as nnU-Net does on a CPU.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch

from benchmarks import nnunet
from benchmarks.evidence.methods import Material, Reader, run_epochs, write_model
from benchmarks.evidence.plan import Inference
from cpmn.config.train import Spacing, TrainConfig
from cpmn.files import read_json, write_json
from cpmn.model.devices import mixed_precision
from cpmn.model.inference import Prediction, pool_volume
from cpmn.model.plan import PLAN_FILE, WEIGHTS_FILE
from cpmn.train.subjects import working_label
from cpmn.volume.grid import resample, working_image
from cpmn.volume.images import image_like, read_image, voxel_ml

FOREGROUND_VOXELS = 10_000  # our choice: drawn per patient, more than most have (nnU-Net draws from all cases together)


def train(material: Material, folder: Path) -> None:
    """Train for `config.steps` steps and keep the last weights, as our recipe does.

    Without nnU-Net's online validation, checkpoints and plots. Raises ValueError if the steps do not fill whole epochs.
    """
    torch.set_num_threads(material.threads)
    torch.manual_seed(material.config.seed)  # initial weights
    np.random.seed(material.config.seed)  # noqa: NPY002 - what nnU-Net's sampling and augmentation draw from
    config, spacing, work = material.config, _spacing(material.config), folder / "nnunet"
    if config.steps % config.epoch_steps:
        raise ValueError(f"{config.steps} steps are no multiple of epoch_steps, {config.epoch_steps}")
    shutil.rmtree(work, ignore_errors=True)  # an interrupted training begins again
    nnunet.use_folders(work)
    parts = {"train": material.usable("train"), "val": material.usable("validation")}
    cases = {name: _arrays(material, name) for name in parts["train"] + parts["val"]}
    intensities = _intensities([cases[name] for name in parts["train"]], config.seed)
    for name, (image, clot) in cases.items():
        nnunet.write_case(work, name, normalised(image, intensities), clot, config)
    write_json(work / "nnUNet_preprocessed" / nnunet.DATASET / "splits_final.json", [parts])
    plans, _ = nnunet.matched_plans(config, spacing)
    trainer = nnunet.new_trainer(plans, 0, cases=len(cases), epochs=config.steps // config.epoch_steps)
    loader, _ = trainer.get_dataloaders()

    def begin(epoch: int) -> None:
        trainer.current_epoch = epoch
        trainer.on_train_epoch_start()

    rows = run_epochs(lambda: trainer.train_step(next(loader))["loss"], config, begin)
    write_model(folder, config, trainer.network, rows, {"nnunet": plans, "intensities": intensities})


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
        with mixed_precision(torch.device("cpu"), how.bfloat16):
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
    """Mean over the `CLASS_ML` where the probability is greatest: `pool_volume` with a sure class head."""
    prior = torch.from_numpy(probability)
    return float(torch.sigmoid(pool_volume(torch.full_like(prior, torch.inf), prior, ml)))


def normalised(hu: np.ndarray, intensities: dict[str, float]) -> np.ndarray:
    """nnU-Net's CTNormalization: clipped to the clots' percentiles, then standardised by their mean and SD."""
    low, high = intensities["percentile_00_5"], intensities["percentile_99_5"]
    clipped = np.clip(hu.astype(np.float32), low, high)
    return ((clipped - intensities["mean"]) / max(intensities["std"], 1e-8)).astype(np.float32)


def _intensities(cases: Sequence[tuple[np.ndarray, np.ndarray]], seed: int) -> dict[str, float]:
    """HU of clot voxels in the training patients, images and masks: nnU-Net's fingerprint of the foreground."""
    random = np.random.default_rng(seed)
    drawn = [random.choice(image[clot > 0], FOREGROUND_VOXELS) for image, clot in cases if clot.any()]
    values = np.concatenate(drawn)
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
