"""Reading one scan: sliding windows over the working grid, and back to native voxels."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor
from torch.nn import functional

from cpmn.anatomy.blood import window_center
from cpmn.errors import CpmnError
from cpmn.imports import MONAI_OPTIONAL, without
from cpmn.model.devices import choose_device, mixed_precision
from cpmn.model.network import Pathway, all_finite, build_pathway
from cpmn.model.plan import WEIGHTS_FILE, Plan, read_plan
from cpmn.volume.grid import normalise, resample, working_image
from cpmn.volume.images import AIR_HU, image_like

SIGMA_FRACTION = 1 / 8  # width of the Gaussian window against the patch: nnU-Net's value (Isensee 2021)
WINDOWS_AT_ONCE = 4  # our choice
VOXELS_AT_ONCE = 2**17
"""Of the windows that a CPU reads together, our choice. Large windows take as long one by one, each its memory. Small
ones do not: a scan in windows of 32 x 32 x 16 voxels takes 8.4 s one by one, 2.8 s by four (float32, one thread)."""
CLASS_ML = 1.0  # our choice: volume of the most suspicious tissue that decides on the patient (see `pool_volume`)


@dataclass
class TrainedModel:
    """NCT pathway, in evaluation mode on `device`, and its plan."""

    pathway: Pathway
    plan: Plan
    device: torch.device


@dataclass
class Prediction:
    """One patient's reading on the native crop grid (z, y, x).

    probability : of embolus per voxel, float32.
    cam : class-activation map, the sigmoid of the classification's evidence, float32, 0-1. The class itself is pooled
        from this map times `probability` (see `pool_volume`), so that what glows here alone has not decided.
    class_probability : of embolus in the patient, 0-1.
    """

    probability: np.ndarray
    cam: np.ndarray
    class_probability: float


@dataclass
class VolumeOutput:
    """Sliding-window result on the working grid: `probability` and `cam` (z, y, x) 0-1, `class_logit` a scalar."""

    probability: Tensor
    cam: Tensor
    class_logit: Tensor


def load_model(folder: Path, device: str = "auto") -> TrainedModel:
    """Load `plan.json` and `model.safetensors` of a model folder.

    Raises CpmnError if the folder is not a model folder, a file is damaged, or the weights do not fit the plan or are
    not finite numbers.
    """
    plan = read_plan(folder)
    path = Path(folder) / WEIGHTS_FILE
    if not path.is_file():
        raise CpmnError(f"{folder} is not a model folder: it has no {WEIGHTS_FILE}. Train the model again.")
    return model_of(plan, path.read_bytes(), str(path), device)


def model_of(plan: Plan, content: bytes, where: str, device: str = "auto") -> TrainedModel:
    """The model of a plan and of the contents of a weights file at `where`. Raises CpmnError as `load_model`."""
    with torch.device("meta"):  # takes no memory, whatever sizes a damaged plan asks for
        pathway = build_pathway(plan.channels, plan.strides, plan.seed, plan.absolute_hu)
    try:
        weights = {name: value.float() for name, value in load(content).items()}
        pathway.load_state_dict(weights, assign=True)
    except SafetensorError as error:
        raise CpmnError(f"{where} cannot be read as safetensors ({error}). Is it complete? Copy it again.") from error
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise CpmnError(f"{where} does not fit its plan.json: {reason} Keep both of one training together.") from error
    if not all_finite(weights):
        raise CpmnError(f"{where} holds weights that are not numbers: that training diverged. Train the model again.")
    chosen = choose_device(device)
    pathway.to(chosen).eval()
    if chosen.type == "cpu":  # windows then take 0.7 of the time, but 1.05 where large ones are in float32
        pathway.to(memory_format=torch.channels_last_3d)  # pyright: ignore[reportCallIssue] (absent from the stubs)
    return TrainedModel(pathway, plan, chosen)


def predict_crop(
    model: TrainedModel,
    nct: sitk.Image,
    *,
    overlap: float = 0.3,
    mirror: bool = False,
    highest_hu: float | None = None,
    bfloat16: bool = False,
    allowed: np.ndarray | None = None,
) -> Prediction:
    """Read one NCT crop in HU on native voxels; `overlap` is that of neighbouring windows, 0 to below 1.

    With `mirror` every window is read left to right too and both readings are averaged, in twice the time. Where the
    NCT is above `highest_hu` (bone, calcium), or outside of `allowed` (z, y, x; bool), the probability is 0 and says
    nothing for the class either. `bfloat16` is mixed precision (see `mixed_precision`): the heads stay in float32.

    The probability is computed on the working grid and brought back by linear interpolation. Deterministic on CPU.
    Raises CpmnError if the network's output is not a number.
    """
    plan = model.plan
    working = working_image(nct, plan.spacing)
    hu = sitk.GetArrayFromImage(working)
    center = window_center(nct, plan.window_center, plan.blood_window)
    volume = torch.from_numpy(normalise(hu, center, plan.window_scale, plan.clip))
    background = float(normalise(np.array([AIR_HU]), center, plan.window_scale, plan.clip)[0])
    excluded = _excluded(hu, working, nct, highest_hu, allowed)
    with mixed_precision(model.device, bfloat16):
        output = predict_volume(
            model.pathway,
            volume.to(model.device),
            plan.spacing,
            plan.patch_size,
            overlap=overlap,
            background=background,
            mirror=mirror,
            excluded=None if excluded is None else torch.from_numpy(excluded).to(model.device),
        )
    if not torch.isfinite(output.class_logit):
        raise CpmnError("the network's output for this scan is not a number. Train the model again.")
    probability, cam = (_on_native(values, working, nct) for values in (output.probability, output.cam))
    if highest_hu is not None:
        probability[sitk.GetArrayViewFromImage(nct) > highest_hu] = 0
    if allowed is not None:
        probability[~allowed] = 0
    return Prediction(probability, cam, float(torch.sigmoid(output.class_logit)))


def _excluded(
    hu: np.ndarray, working: sitk.Image, nct: sitk.Image, highest_hu: float | None, allowed: np.ndarray | None
) -> np.ndarray | None:
    """Voxels of the working grid (z, y, x), of `hu`, that hold no embolus; None if all may."""
    if highest_hu is None and allowed is None:
        return None
    excluded = np.zeros(hu.shape, bool) if highest_hu is None else hu > highest_hu
    if allowed is not None:
        there = resample(image_like(allowed.astype(np.uint8), nct), working, sitk.sitkNearestNeighbor)
        excluded |= sitk.GetArrayViewFromImage(there) == 0
    return excluded


def predict_volume(
    pathway: Pathway,
    volume: Tensor,
    spacing: tuple[float, float, float],
    patch_size: tuple[int, int, int],
    *,
    overlap: float = 0.3,
    background: float = 0.0,
    mirror: bool = False,
    excluded: Tensor | None = None,
) -> VolumeOutput:
    """Slide the pathway over a normalised volume (z, y, x); `overlap` of windows is 0 to below 1.

    `spacing` (mm) and `patch_size` (voxels) are (x, y, z). Windows are averaged with Gaussian weights; the class logit
    is pooled once from the blended volumes. `mirror` averages each window with its left-right mirror image. The volume
    is padded with `background` to the patch and to multiples of the first stride. Neither the padding nor `excluded`
    voxels (z, y, x) hold embolus.
    """
    with without(MONAI_OPTIONAL):  # it takes a second to load, and only what reads scans needs it
        from monai.inferers.inferer import SlidingWindowInferer

    patch, stride = patch_size[::-1], pathway.strides[0]
    padded = _padded(volume, patch, stride, background)
    fitting = max(1, min(WINDOWS_AT_ONCE, VOXELS_AT_ONCE // math.prod(patch)))
    at_once = fitting if volume.device.type == "cpu" else WINDOWS_AT_ONCE
    windows = SlidingWindowInferer(patch, at_once, overlap, mode="gaussian", sigma_scale=SIGMA_FRACTION)
    with torch.inference_mode():
        read = torch.as_tensor(windows(padded[None, None], lambda patches: _read(pathway, patches, mirror)))
        inside = tuple(slice(0, n) for n in volume.shape)
        probability, evidence = read[0, 0][inside], functional.avg_pool3d(read[:, 1:], stride, stride)
        if excluded is not None:
            probability[excluded] = 0
        tissue = _padded(probability, patch, stride, 0.0)  # what a network makes of the padding does not count
        prior = functional.max_pool3d(tissue[None, None], stride, stride)
        class_logit = pool_volume(evidence, prior, math.prod(spacing) * math.prod(stride) / 1000)
        smooth = functional.interpolate(evidence, size=padded.shape, mode="trilinear")[0, 0]
        return VolumeOutput(probability, torch.sigmoid(smooth[inside]), class_logit)


def _read(pathway: Pathway, windows: Tensor, mirror: bool) -> Tensor:
    """Probability of clot and evidence, the two channels, of windows (batch, 1, z, y, x), float32.

    The evidence is repeated to full size, so that the windows of both are blended with the same weights.
    """
    output = pathway(windows)
    evidence = functional.interpolate(output.evidence.float(), size=windows.shape[2:])
    read = torch.cat([torch.sigmoid(output.logits.float()), evidence], dim=1)
    return (read + _read(pathway, windows.flip(-1), False).flip(-1)) / 2 if mirror else read


def pool_volume(evidence: Tensor, prior: Tensor, voxel_ml: float) -> Tensor:
    """Class logit of a whole volume: the logit of the mean of p sigmoid(e) over the `CLASS_ML` where it is greatest.

    `evidence` e (a logit) and `prior` p (probability of clot) are of one shape, with voxels of `voxel_ml`: what both
    tasks agree on. Ours. The rule of the patches, `cpmn.model.network.pool_evidence`, does worse on volumes, where the
    exponential of a few false peaks outweighs the rest: AUC 0.49, 0.80, 0.84 against 0.82, 0.80, 0.84 in three short
    trainings (14 phantom patients of seed 2024). `CLASS_ML` was chosen on the development cohort of `docs/protocol.md`
    (60 patients, three trainings): AUC 0.980, 0.973, 1.000 at 0.5 mL; 0.988, 0.989, 1.000 at 1; 0.986, 0.984, 0.998
    at 2.
    """
    joint = (prior * torch.sigmoid(evidence)).flatten()
    count = min(max(round(CLASS_ML / voxel_ml), 1), joint.numel())
    return torch.logit(joint.topk(count).values.mean(), eps=1e-6)


def _padded(volume: Tensor, patch: tuple[int, ...], stride: tuple[int, ...], background: float) -> Tensor:
    target = [max(p, -(-n // s) * s) for n, p, s in zip(volume.shape, patch, stride, strict=True)]
    margins = [target[axis] - volume.shape[axis] for axis in (2, 1, 0)]
    return functional.pad(volume, (0, margins[0], 0, margins[1], 0, margins[2]), value=background)


def _on_native(values: Tensor, working: sitk.Image, native: sitk.Image) -> np.ndarray:
    image = image_like(values.float().cpu().numpy(), working)
    return np.clip(sitk.GetArrayFromImage(resample(image, native)), 0.0, 1.0)
