"""Reading a real chest at realistic size: untrained networks of `config/paired.yaml`, by precision and overlap.

The chest of 512 x 512 x 64 voxels of `shared/data`, two threads, each row in a process of its own. What such a network
says has no meaning; time and memory are those of a trained one.
"""

import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path
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
    (5, True, 0.25),
]


def measure() -> Iterator[dict[str, Any]]:
    """One row per way of reading: seconds by the clock and of the processors, largest memory in GB."""
    for folds, bfloat16, overlap in READINGS:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            yield {"folds": folds, "precision": "bfloat16" if bfloat16 else "float32", "overlap": overlap} | pool.apply(
                _read, (folds, bfloat16, overlap)
            )


def _read(folds: int, bfloat16: bool, overlap: float) -> dict[str, float]:
    import torch

    from cpmn.anatomy.lungbox import find_box
    from cpmn.config.convert import ConvertConfig
    from cpmn.config.evaluate import EvaluateConfig
    from cpmn.config.files import read_config
    from cpmn.dicom.scan import read_scan
    from cpmn.model.ensemble import read_crop
    from cpmn.volume.box import crop_image

    torch.set_num_threads(THREADS)
    config = read_config(SETTINGS)
    image, _ = read_scan(CHEST, patient="p", phase="nct", series_uid="", config=ConvertConfig())
    box, lungs, _ = find_box(image, config.crop)
    crop, lungs = crop_image(image, box), crop_image(lungs, box)
    networks = {fold: _untrained(config.train.network) for fold in range(folds)}
    settings = EvaluateConfig(bfloat16=bfloat16, overlap=overlap)
    began, used = time.monotonic(), time.process_time()
    read_crop(networks, crop, settings, lungs)
    seconds, processor = time.monotonic() - began, time.process_time() - used
    return {
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor, 1),
        "peak_gb": round(peak_gb(), 2),
    }


def _untrained(network: Any) -> Any:
    """A network of these sizes, as `cpmn.model.inference.load_model` gives it."""
    import torch

    from cpmn.model.inference import TrainedModel
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
    return TrainedModel(pathway.eval(), plan, torch.device("cpu"))
