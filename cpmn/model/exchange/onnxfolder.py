"""A model as ONNX: a graph for each fold's network, with plans and decision beside it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from cpmn.errors import CpmnError
from cpmn.files import write_text
from cpmn.model.ensemble import load_sealed
from cpmn.model.exchange.folder import copy_facts, rendered, written_whole
from cpmn.model.exchange.graph import exported
from cpmn.model.inference import CLASS_ML, SIGMA_FRACTION, TrainedModel
from cpmn.model.modelfiles import ModelFiles
from cpmn.model.package import USE, facts
from cpmn.model.seal import verified
from cpmn.scoring.decision import Decision
from cpmn.volume.grid import SAME_SPACING_MM

NETWORK_FILE = "network.onnx"
INPUT, OUTPUTS = "windows", ("probability", "evidence")


def export_onnx(files: ModelFiles, folder: Path, licence: str | None = None) -> Decision:
    """Write a model to the new folder `folder` as ONNX; its decision.

    It holds `fold-K/network.onnx` (float32), `fold-K/plan.json`, `decision.json`, `LICENCE.txt` (`licence`, or what the
    model file says) and `README.md`, which says how input is made and what becomes of output.

    Raises CpmnError if `folder` exists, the model is not what was sealed, or onnxscript is not installed.
    """
    _require_onnxscript()
    decision = verified(files)
    networks = load_sealed(files, decision, "cpu")
    with written_whole(folder) as made:
        copy_facts(files, decision, made, licence)
        for fold, network in networks.items():
            _write_graph(network, decision, made / f"fold-{fold}" / NETWORK_FILE)
        write_text(made / "README.md", _page(decision, networks))
    return decision


def _write_graph(network: TrainedModel, decision: Decision, path: Path) -> None:
    assert decision.seal is not None  # `verified` has seen it
    graph = exported(network, decision.mirror)
    program = torch.onnx.export(graph, input_names=[INPUT], output_names=list(OUTPUTS), dynamo=True, verbose=False)
    assert program is not None  # None is of the former exporter
    said = {"sha256": decision.seal.sha256, "use": USE}
    program.model.metadata_props.update(said)
    program.save(str(path))


def _page(decision: Decision, networks: Mapping[int, TrainedModel]) -> str:
    plans = {fold: network.plan for fold, network in networks.items()}
    multiples = {fold: np.prod(plan.strides, axis=0).tolist() for fold, plan in plans.items()}
    return rendered(
        "onnx.md.j2",
        facts=facts(decision),
        decision=decision,
        plans=plans,
        multiples=multiples,
        sigma=SIGMA_FRACTION,
        class_ml=CLASS_ML,
        same_mm=SAME_SPACING_MM,
    )


def _require_onnxscript() -> None:
    try:
        import onnxscript  # noqa: F401  (torch asks for it late, in words of its own)
    except ImportError as error:
        raise CpmnError(
            "ONNX needs the package onnxscript. In the project's folder: pip install -e '.[export]'"
        ) from error
