"""A model as a MONAI bundle: `python -m monai.bundle run` reads a scan where this project is not installed.

The networks are graphs (`torch.export`), not pickled. What the bundle does otherwise than `cpmn predict` stands in its
README, from `DIFFERENCES`.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import monai
import nibabel
import numpy as np
import torch

import cpmn
from cpmn.files import write_json, write_text
from cpmn.model.ensemble import load_sealed
from cpmn.model.exchange.folder import copy_facts, rendered, written_whole
from cpmn.model.exchange.graph import exported
from cpmn.model.inference import SIGMA_FRACTION, TrainedModel
from cpmn.model.modelfiles import ModelFiles
from cpmn.model.package import STATEMENT, USE, facts
from cpmn.model.plan import Plan
from cpmn.model.seal import verified
from cpmn.scoring.decision import Decision
from cpmn.volume.images import AIR_HU

SCRIPT = Path(__file__).with_name("chest.py")
SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
DIFFERENCES = (
    "It decides nothing and abstains from nothing: there is no score and no threshold. Marks are written also where "
    "`cpmn predict` says `indeterminate`.",
    "It checks nothing of the scan: neither contrast medium nor cut lungs nor thick slices.",
    "It reads one NIfTI file in HU that shows the chest and no head, and no DICOM.",
    "Lungs, the patient's blood and the places where no embolus can be are found by plainer rules.",
    "Marks below the smallest size are kept.",
    "It computes in float32.",
)


def export_monai(files: ModelFiles, folder: Path, licence: str | None = None) -> Decision:
    """Write a model to the new folder `folder` as a MONAI bundle; its decision.

    It holds `configs/{metadata,inference}.json`, `models/fold-K.pt2`, `scripts/chest.py`, and in `docs` a README, the
    model's own decision and plans, and `LICENCE.txt` (`licence`, or what the model file says).

    Raises CpmnError if `folder` exists or the model is not what was sealed.
    """
    decision = verified(files)
    networks = load_sealed(files, decision, "cpu")
    plans = {fold: network.plan for fold, network in networks.items()}
    with written_whole(folder) as made:
        copy_facts(files, decision, made / "docs", licence)
        _write_networks(networks, decision.mirror, made / "models")
        (made / "scripts").mkdir()
        shutil.copyfile(SCRIPT, made / "scripts" / SCRIPT.name)
        write_json(made / "configs" / "metadata.json", metadata(decision, plans))
        write_json(made / "configs" / "inference.json", inference(decision, plans))
        page = rendered("bundle.md.j2", facts=facts(decision), differences=DIFFERENCES)
        write_text(made / "docs" / "README.md", page)
    return decision


def _write_networks(networks: Mapping[int, TrainedModel], mirror: bool, folder: Path) -> None:
    folder.mkdir()
    for fold, network in networks.items():
        torch.export.save(exported(network, mirror), folder / f"fold-{fold}.pt2")


def inference(decision: Decision, plans: Mapping[int, Plan]) -> dict[str, Any]:
    """Contents of `configs/inference.json`: one scan to probability and mask, on its own grid."""
    center = plans[0].window_center
    return {
        "imports": ["$import torch", "$import scripts.chest as chest"],
        "bundle_root": ".",
        "scan": "$@bundle_root + '/scan.nii.gz'",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "segmentation_threshold": decision.segmentation_threshold,
        "load": _composed(
            {"_target_": "LoadImage", "image_only": True},
            {"_target_": "EnsureChannelFirst"},
            {"_target_": "Orientation", "axcodes": "SPL", "labels": [["L", "R"], ["P", "A"], ["I", "S"]]},
            {"_target_": "ThresholdIntensity", "threshold": AIR_HU, "above": True, "cval": AIR_HU},
        ),
        "image": "$@load(@scan)",
        "lungs": f"$chest.find_lungs(@image, {decision.crop.minimum_lung_ml})",
        "crop": {
            "_target_": "CropForeground",
            "select_fn": "$lambda image: @lungs",
            "margin": f"$chest.margin(@image, {decision.crop.margin_mm})",
            "allow_smaller": True,
        },
        "box": "$@crop(@image)",
        "possible": f"$chest.possible(@image, @lungs, {decision.highest_hu}, {decision.anatomy})",
        "center": f"$chest.blood_hu(@image, @lungs, {center})" if plans[0].blood_window else center,
        "folds": [_fold(fold, plan, decision.overlap) for fold, plan in plans.items()],
        "probability": "$chest.read(@image, @box, @possible, @folds, @device)",
        "mask": {"_target_": "AsDiscrete", "threshold": "@segmentation_threshold"},
        "save_probability": _saved("probability", "float32"),
        "save_mask": _saved("mask", "uint8"),
        "run": ["$@save_probability(@probability)", "$@save_mask(@mask(@probability))"],
    }


def _fold(fold: int, plan: Plan, overlap: float) -> dict[str, Any]:
    """What reads the box of the lungs with one network; sizes are (z, y, x) here."""
    width, patch, stride = plan.clip * plan.window_scale, plan.patch_size[::-1], plan.strides[0][::-1]
    air = f"$max(-{plan.clip}, min({plan.clip}, ({AIR_HU} - @center) / {plan.window_scale}))"
    return {
        "preprocessing": _composed(
            {"_target_": "$chest.WorkingGrid", "spacing": plan.spacing[::-1]},
            {
                "_target_": "ScaleIntensityRange",
                "a_min": f"$@center - {width}",
                "a_max": f"$@center + {width}",
                "b_min": -plan.clip,
                "b_max": plan.clip,
                "clip": True,
            },
        ),
        "padding": _composed(
            {"_target_": "SpatialPad", "spatial_size": patch, "method": "end", "value": air},
            {"_target_": "DivisiblePad", "k": stride, "method": "end", "value": air},
        ),
        "network": f"$chest.load_network(@bundle_root + '/models/fold-{fold}.pt2', @device)",
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": patch,
            "sw_batch_size": 1,
            "overlap": overlap,
            "mode": "gaussian",
            "sigma_scale": SIGMA_FRACTION,
        },
    }


def metadata(decision: Decision, plans: Mapping[int, Plan]) -> dict[str, Any]:
    """Contents of `configs/metadata.json`."""
    assert decision.seal is not None  # `verified` has seen it
    clip = max(plan.clip for plan in plans.values())
    return {
        "schema": SCHEMA,
        "version": cpmn.__version__,
        "changelog": {cpmn.__version__: f"exported from the model {decision.seal.sha256}"},
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__,
        "numpy_version": np.__version__,
        "required_packages_version": {"nibabel": nibabel.__version__},
        "task": "Marks of pulmonary embolism on non-contrast chest CT",
        "description": f"{decision.variant}, {len(plans)} network(s). {USE}",
        "authors": f"cpmn {cpmn.__version__}",
        "copyright": "See docs/LICENCE.txt",
        "data_source": decision.trained_on.model_dump() if decision.trained_on else "UNKNOWN TRAINING DATA",
        "intended_use": STATEMENT,
        "differs_from_cpmn_predict": list(DIFFERENCES),
        "model_sha256": decision.seal.sha256,
        "network_data_format": {
            "inputs": {"image": _format("hounsfield", "image", plans[0], [-clip, clip])},
            "outputs": {"pred": _format("probabilities", "embolus", plans[0], [0, 1])},
        },
    }


def _format(form: str, channel: str, plan: Plan, values: list[float]) -> dict[str, Any]:
    return {
        "type": "image",
        "format": form,
        "modality": "CT",
        "num_channels": 1,
        "spatial_shape": plan.patch_size[::-1],
        "dtype": "float32",
        "value_range": values,
        "is_patch_data": True,
        "channel_def": {"0": channel},
    }


def _composed(*transforms: dict[str, Any]) -> dict[str, Any]:
    return {"_target_": "Compose", "transforms": list(transforms)}


def _saved(postfix: str, dtype: str) -> dict[str, Any]:
    return {
        "_target_": "SaveImage",
        "output_dir": "@output_dir",
        "output_postfix": postfix,
        "output_dtype": dtype,
        "resample": True,
        "separate_folder": False,
    }
