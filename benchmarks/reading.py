"""Reading a real chest at realistic size: untrained networks of `config/paired.yaml`, by precision and overlap.

The chest of 512 x 512 x 64 voxels of `shared/data`, two threads, each row in a process of its own. What such a network
says has no meaning; time and memory are those of a trained one. nnU-Net's own predictor reads the same crop with the
same network (`benchmarks.nnunet` says what it needs); it ends with the logits of the working grid, while ours brings
probability and map back to the scan's voxels and finds lesions.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.cases import REAL_DATA
from benchmarks.cost import peak_gb

SETTINGS = Path(__file__).parents[1] / "config/paired.yaml"
CHEST = REAL_DATA / "lung_pet_ct_dx/A0001/5mm_B"
THREADS = 2
READINGS = [  # folds, bfloat16, overlap
    (1, False, 0.5),
    (1, True, 0.5),
    (1, True, 0.25),
    (5, True, 0.5),
    (5, True, 0.25),
]
PEER = (1, False, 0.5)


def measure() -> Iterator[dict[str, Any]]:
    """One row per way of reading: seconds by the clock and of the processors, largest memory in GB."""
    for reader, way in [*(("cpmn", way) for way in READINGS), ("nnU-Net v2", PEER)]:
        folds, bfloat16, overlap = way
        named = {"reader": reader, "folds": folds, "precision": "bfloat16" if bfloat16 else "float32"}
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            yield named | {"overlap": overlap} | pool.apply(_ours if reader == "cpmn" else _peer, way)


def _ours(folds: int, bfloat16: bool, overlap: float) -> dict[str, float]:
    from cpmn.config.evaluate import EvaluateConfig
    from cpmn.model.ensemble import read_crop

    config, crop, lungs = _chest()
    networks = {fold: _untrained(config.train.network) for fold in range(folds)}
    settings = EvaluateConfig(bfloat16=bfloat16, overlap=overlap)
    return _timed(lambda: read_crop(networks, crop, settings, lungs))


def _peer(_folds: int, _bfloat16: bool, overlap: float) -> dict[str, float]:
    import SimpleITK as sitk
    import torch

    from benchmarks import nnunet
    from cpmn.volume.grid import normalise, working_image

    config, crop, _ = _chest()
    pathway = _untrained(config.train.network).pathway

    class Logits(torch.nn.Module):
        def forward(self, patches: torch.Tensor) -> torch.Tensor:
            return pathway(patches).logits

    def read() -> None:
        network = config.train.network
        working = sitk.GetArrayFromImage(working_image(crop, network.spacing))
        volume = torch.from_numpy(normalise(working, network.window_center, network.window_scale, network.clip))
        nnunet.read_windows(Logits(), volume[None], network.patch_size, overlap)

    with TemporaryDirectory() as folder:
        nnunet.use_folders(Path(folder))
        return _timed(read)


def _chest() -> tuple[Any, Any, Any]:
    """Settings, the crop and its lungs."""
    import torch

    from cpmn.anatomy.lungbox import find_box
    from cpmn.config.convert import ConvertConfig
    from cpmn.config.files import read_config
    from cpmn.dicom.scan import read_scan
    from cpmn.volume.box import crop_image

    torch.set_num_threads(THREADS)
    config = read_config(SETTINGS)
    image, _ = read_scan(CHEST, patient="p", phase="nct", series_uid="", config=ConvertConfig())
    box, lungs, _ = find_box(image, config.crop)
    return config, crop_image(image, box), crop_image(lungs, box)


def _timed(read: Callable[[], object]) -> dict[str, float]:
    began, used = time.monotonic(), time.process_time()
    read()
    seconds, processor = time.monotonic() - began, time.process_time() - used
    return {
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor, 1),
        "peak_gb": round(peak_gb(), 2),
    }


def _untrained(network: Any) -> Any:
    """A network of these sizes, as `cpmn.model.inference.load_model` gives it."""
    from safetensors.torch import save

    from cpmn.model.inference import model_of
    from cpmn.model.network import build_pathway
    from cpmn.model.plan import Plan, pooling_strides

    strides = pooling_strides(network.spacing, network.patch_size, len(network.channels))
    plan = Plan.model_validate(
        {
            name: getattr(network, name)
            for name in ("spacing", "patch_size", "channels", "window_center", "window_scale")
        }
        | {"clip": network.clip, "blood_window": network.blood_window, "strides": strides, "seed": 0}
        | {"variant": "cpmn", "fold": 0, "fingerprint": {}, "config": {}, "versions": {}}
    )
    pathway = build_pathway(plan.channels, plan.strides, plan.seed, plan.absolute_hu)
    return model_of(plan, save(pathway.state_dict()), "untrained", "cpu")
