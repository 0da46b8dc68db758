"""A trained model that reads scans: loaded and checked once, it reads any number of them.

from cpmn import load_model

model = load_model("model.cpmn")                    # or a run's folder, or models:/NAME@champion
record = model.predict("/scans/patient-1")          # what prediction.json holds
record = model.predict("/scans/patient-2", output="OUT")    # and all files of `cpmn predict`
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cpmn
from cpmn.errors import CpmnError
from cpmn.model.ensemble import load_sealed
from cpmn.model.inference import TrainedModel
from cpmn.model.modelfiles import SUFFIX, ModelFiles, ZippedFiles, find_model
from cpmn.model.seal import change_warnings, training_warning, verified
from cpmn.scoring.decision import Decision

REGISTERED = "models:/"
STORE = "sqlite:///mlflow.db"


@dataclass(frozen=True)
class Model:
    """Networks by fold and the decision; `where` names the model in messages."""

    where: str
    decision: Decision
    networks: Mapping[int, TrainedModel]

    def predict(self, series: Path | str, output: Path | str | None = None, **options: Any) -> dict[str, Any]:
        """Read one non-contrast chest CT: contents of `prediction.json` (`cpmn.predict.record.PredictionRecord`).

        Parameters
        ----------
        series : folder or .zip of DICOM files, or one image file in HU.
        output : folder for mask, maps, picture and JSON; None keeps none of them.
        options : `series_uid`, `overrule` and others of `cpmn.predict.stage.predict_series`.

        Raises CpmnError for a scan that cannot be read; the message says what to do.
        """
        from cpmn.predict.stage import predict_series  # which imports this module

        if output is not None:
            return predict_series(Path(series), model=self, output=Path(output), **options)
        with tempfile.TemporaryDirectory(prefix="cpmn-prediction-") as folder:
            return predict_series(Path(series), model=self, output=Path(folder) / "out", **options)

    @property
    def facts(self) -> dict[str, Any]:
        """What `prediction.json` says of the model."""
        decision = self.decision
        assert decision.seal is not None  # `verified` has seen it
        return {
            "variant": decision.variant,
            "folds": len(decision.folds),
            "sha256": decision.seal.sha256,
            "trained_with": self.networks[0].plan.versions,
            "trained_on": decision.trained_on.model_dump() if decision.trained_on else None,
            "changes": [change.model_dump() for change in decision.changes],
            "cpmn": cpmn.__version__,
        }

    @property
    def warnings(self) -> list[str]:
        """What of the model makes any result doubtful."""
        trained = training_warning(self.decision)
        return [*([trained] if trained else []), *change_warnings(self.decision)]


def load_model(model: Path | str = "results", variant: str = "cpmn", device: str = "auto") -> Model:
    """Load a model and check that it is what was sealed.

    Parameters
    ----------
    model : a .cpmn file or a folder that one was unpacked to; a run's folder or its `results`, of which `variant` is
        taken; or `models:/NAME@ALIAS` or `models:/NAME/VERSION` of MLflow's registry (`MLFLOW_TRACKING_URI`, else
        mlflow.db of the present folder).
    device : `auto`, `cpu` or `cuda`.

    Raises CpmnError if there is no such model, or it is damaged, was edited, or is no model of ours.
    """
    if str(model).startswith(REGISTERED):
        with tempfile.TemporaryDirectory(prefix="cpmn-model-") as folder:
            return _loaded(_registered(str(model), Path(folder)), device, where=str(model))
    files = find_model(Path(model), variant)
    return _loaded(files, device, where=files.where)


def _loaded(files: ModelFiles, device: str, where: str) -> Model:
    decision = verified(files)
    return Model(where, decision, load_sealed(files, decision, device))


def _registered(address: str, folder: Path) -> ZippedFiles:
    """The model file of a registered version, fetched into `folder`."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    uri = os.environ.get("MLFLOW_TRACKING_URI", STORE)
    try:
        found = download_artifacts(artifact_uri=address, dst_path=str(folder), tracking_uri=uri)
    except (MlflowException, OSError) as error:
        raise CpmnError(
            f"{address} cannot be fetched from {uri} ({error}). Stand in the run's folder, or name MLflow's address in "
            "MLFLOW_TRACKING_URI."
        ) from error
    made = sorted(Path(found).rglob(f"*{SUFFIX}"))
    if len(made) != 1:
        raise CpmnError(f"{address} holds {len(made)} model files, not one. Register it again: `cpmn track sync`.")
    return ZippedFiles(made[0])
