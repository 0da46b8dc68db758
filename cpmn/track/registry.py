"""Models in the registry: every evaluated variant is a version of `cpmn-{cohort}`.

A version is self-contained: a model file (`cpmn.model.package`) and this package's code, with `cpmn/predict/served.py`
to load it. Nothing is pickled.
"""

import logging
import re
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import cpmn
from cpmn.model.modelfiles import RunFiles
from cpmn.model.package import export_model
from cpmn.model.seal import identity
from cpmn.track.parent import Runs
from cpmn.track.server import locked

PACKAGE = Path(cpmn.__file__).parent
REQUIREMENTS = (
    "connected-components-3d",
    "highdicom",
    "isal",
    "jinja2",
    "markupsafe",
    "matplotlib",
    "mlflow",
    "monai",
    "nibabel",
    "numpy",
    "pandas",
    "pydantic",
    "pydicom",
    "pylibjpeg",
    "pylibjpeg-libjpeg",
    "pylibjpeg-openjpeg",
    "pyyaml",
    "safetensors",
    "scikit-learn",
    "scipy",
    "simpleitk",
    "statsmodels",
    "torch",
    "tqdm",
)
"""What `cpmn.predict` imports."""
OWN_STORE = "sqlite:///mlflow.db"  # of the run's own folder, as `cpmn.track.parent.track_of` names it
NOTE = "Research use only. Not a medical device. Input: `path` or `nifti` of a non-contrast chest CT."


def model_name(track: Mapping[str, Any]) -> str:
    """Name of the cohort's registered model; MLflow takes no '/' and ':'."""
    return "cpmn-" + re.sub(r"[^\w.-]+", "-", track["cohort"])


def register(runs: Runs, run_id: str, variant: str) -> str:
    """Version of the cohort's model that holds this variant's weights and decision; made if there is none."""
    client, name = runs.client, model_name(runs.track)
    content = content_of(runs.results, variant)
    with locked(runs.lock):
        found = versions(client, name).get(content)
        if found is not None:
            return found.version
        if not client.search_registered_models(filter_string=f"name = '{name}'"):
            client.create_registered_model(name, description=NOTE)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "model"
            save_model(runs.results, variant, folder)
            model = _log_model(runs, run_id, variant, folder)
        tags = {key: str(runs.track[key]) for key in ("cohort", "data_hash", "config_hash", "commit")}
        record = runs.track["variants"][variant]
        tags |= {"variant": variant, "base": record["base"], "seed": str(record["seed"]), "content": content}
        source = source_of(model.artifact_location, runs.track["uri"], Path.cwd())
        return client.create_model_version(name, source, run_id=run_id, tags=tags, model_id=model.model_id).version


def source_of(location: str, uri: str, folder: Path) -> str:
    """Where a version's files lie: relative to the run's `folder` if its own database keeps them, so that it can move.

    The files' address and not `models:/ID`, which MLflow (3.17) looks up at the process's default address.
    """
    path = Path(unquote(urlparse(location).path))
    own = uri == OWN_STORE and urlparse(location).scheme in ("", "file") and path.is_relative_to(folder)
    return path.relative_to(folder).as_posix() if own else location


def versions(client: Any, name: str) -> dict[str, Any]:
    """Versions of a registered model by the hash of their contents."""
    return {found.tags.get("content", ""): found for found in client.search_model_versions(f"name = '{name}'")}


def content_of(results: Path, variant: str) -> str:
    """Hash of a variant's weights, plans and decision, whatever run they came from."""
    return identity(RunFiles(results, variant))


def save_model(results: Path, variant: str, folder: Path) -> None:
    """Write the MLflow model of a variant, with signature and input example, to the new folder `folder`."""
    import mlflow.pyfunc
    import pandas as pd

    logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as temporary:
        model, code = Path(temporary) / "model.cpmn", Path(temporary) / "cpmn"
        export_model(results, variant, model)
        shutil.copytree(PACKAGE, code, ignore=shutil.ignore_patterns("__pycache__"))
        mlflow.pyfunc.save_model(
            path=folder,
            python_model=code / "predict" / "served.py",
            artifacts={"model": str(model)},
            code_paths=[str(code)],
            signature=_signature(),
            input_example=pd.DataFrame({"path": ["/scans/new-patient/nct"]}),
            pip_requirements=[_pin(name) for name in REQUIREMENTS],
        )


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, DataType, Schema

    either = {"path": DataType.string, "nifti": DataType.binary}
    result = {
        "score": DataType.double,
        "threshold": DataType.double,
        "decision": DataType.string,
        "volume_ml": DataType.double,
        "prediction": DataType.string,
    }
    return ModelSignature(
        Schema([ColSpec(kind, name, required=False) for name, kind in either.items()]),
        Schema([ColSpec(kind, name) for name, kind in result.items()]),
    )


def _log_model(runs: Runs, run_id: str, variant: str, folder: Path) -> Any:
    """Attach a saved model to a run; MLflow's record of it."""
    from mlflow.entities import LoggedModelOutput

    client = runs.client
    model = client.create_logged_model(runs.track["experiment_id"], name=variant, source_run_id=run_id)
    client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
    return model


def _pin(name: str) -> str:
    try:
        return f"{name}=={version(name).split('+')[0]}"  # without the build, as in 2.13.0+cpu
    except PackageNotFoundError:  # a job's environment holds only what the job needs
        return name
