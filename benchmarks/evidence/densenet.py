"""A peer: a 3D classifier of the whole crop (MONAI's DenseNet-121), taught by patient labels alone.

It marks nothing, so that its Dice is 0 by construction; its patient AUC is what counts.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.evidence.methods import Material, Reader, run_epochs, write_model
from benchmarks.evidence.plan import Inference
from cpmn.anatomy.blood import window_center
from cpmn.config.train import TrainConfig
from cpmn.files import read_json
from cpmn.model.devices import mixed_precision
from cpmn.model.inference import Prediction
from cpmn.model.plan import PLAN_FILE, WEIGHTS_FILE
from cpmn.volume.grid import normalise, working_image
from cpmn.volume.images import AIR_HU, read_image

SPACING = (3.0, 3.0, 3.0)  # mm; a whole crop then has half a million voxels
SHAPE = (80, 80, 112)  # z, y, x; 240 x 240 x 336 mm about the crop's centre
LEARNING_RATE = 3e-4  # our choice: one-cycle AdamW, as for our network, at DenseNet's usual rate
BATCH = 2


def train(material: Material, folder: Path) -> None:
    """Binary cross-entropy on the patient's label; mirrored left to right, shifted and noisy like our patches."""
    torch.set_num_threads(material.threads)
    config, names = material.config, material.usable("train")
    volumes = torch.stack([volume(read_image(material.crops / name / "nct.nii.gz"), config) for name in names])
    network, step = start(volumes, np.array([material.labels[name] for name in names]), config)
    write_model(folder, config, network, run_epochs(step, config))


def start(volumes: Tensor, labels: np.ndarray, config: TrainConfig) -> tuple[torch.nn.Module, Callable[[], float]]:
    """A new network and what does its next step and returns the loss. `volumes` are (patients, 1, z, y, x)."""
    network, random, targets = build(config.seed), np.random.default_rng(config.seed), torch.from_numpy(labels).float()
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=config.steps + 1)

    def step() -> float:
        rows = balanced(labels, random)
        logits = network(_augmented(volumes[rows], config, random))[:, 0]  # under bfloat16 its gradients here are NaN
        loss = functional.binary_cross_entropy_with_logits(logits, targets[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        return loss.item()

    return network, step


def load(folder: Path, how: Inference) -> Reader:
    """The classifier's reading: a class probability and nothing marked."""
    from safetensors.torch import load_file

    config = TrainConfig.model_validate(read_json(folder / PLAN_FILE)["config"])
    network = build(config.seed)
    network.load_state_dict(load_file(folder / WEIGHTS_FILE))
    network.eval()

    def read(crop: sitk.Image) -> Prediction:
        with torch.inference_mode(), mixed_precision(torch.device("cpu"), how.bfloat16):
            logit = network(volume(crop, config)[None])[0, 0]
        nothing = np.zeros(crop.GetSize()[::-1], np.float32)
        return Prediction(nothing, nothing, float(torch.sigmoid(logit.float())))

    return read


def build(seed: int) -> torch.nn.Module:
    """DenseNet-121 for one channel and one logit; initial weights by the seed."""
    from monai.networks.nets.densenet import DenseNet121

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DenseNet121(spatial_dims=3, in_channels=1, out_channels=1)


def volume(crop: sitk.Image, config: TrainConfig) -> Tensor:
    """Normalised crop (1, z, y, x) at `SPACING`, cut or padded with air to `SHAPE` about its centre."""
    from monai.transforms.croppad.array import ResizeWithPadOrCrop

    center = window_center(crop, config.window_center, config.blood_window)
    hu = torch.from_numpy(sitk.GetArrayFromImage(working_image(crop, SPACING)))[None]
    fitted = np.asarray(ResizeWithPadOrCrop(SHAPE, value=AIR_HU)(hu))
    return torch.from_numpy(normalise(fitted, center, config.window_scale, config.clip))


def balanced(labels: np.ndarray, random: np.random.Generator) -> list[int]:
    """Rows of a batch: as many patients with PE as without."""
    return [int(random.choice(np.flatnonzero(labels == label))) for label in (1, 0) for _ in range(BATCH // 2)]


def _augmented(batch: Tensor, config: TrainConfig, random: np.random.Generator) -> Tensor:
    flipped = torch.stack([one.flip(-1) if random.random() < 0.5 else one for one in batch])
    shift = torch.from_numpy(random.normal(0, config.shift_hu, (len(batch), 1, 1, 1, 1)))
    noise = torch.from_numpy(random.normal(0, config.noise_hu * random.random(), tuple(batch.shape)))
    return flipped + ((shift + noise) / config.window_scale).float()
