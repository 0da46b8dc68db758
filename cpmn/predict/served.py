"""A trained variant as MLflow loads and serves it; `cpmn.track.registry` saves this file with the model.

Every row of the input names one non-contrast chest CT: `path`, a folder of DICOM files or an image file in HU where
the model runs, or `nifti`, the contents of a .nii or .nii.gz file (base64 in JSON).
"""

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import mlflow.models
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel

COLUMNS = ("score", "threshold", "decision", "volume_ml")
GZIP = b"\x1f\x8b"


class Served(PythonModel):
    """Reads scans as `cpmn predict` does."""

    def load_context(self, context: Any) -> None:
        """Load the model, once for all scans."""
        from cpmn.predict.model import load_model

        self._model = load_model(context.artifacts["model"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Data frame with `score`, `threshold` (NaN if there is none), `decision` and `volume_ml` (marked, mL) per row.

        `prediction` is all that prediction.json holds, as JSON.

        Raises MlflowException, a server's status 400, for a scan that cannot be read.
        """
        rows = [self._read(row) for row in model_input.to_dict("records")]
        return pd.DataFrame(rows).astype({"threshold": float})

    def _read(self, row: dict[str, Any]) -> dict[str, Any]:
        from cpmn.errors import CpmnError

        with tempfile.TemporaryDirectory() as temporary:
            source = _source(row, Path(temporary))
            try:
                record = self._model.predict(source)
            except CpmnError as error:
                raise MlflowException.invalid_parameter_value(str(error)) from error
        own = {"threshold": record["threshold"]["value"], "prediction": json.dumps(record)}
        return {key: record[key] for key in COLUMNS} | own


def _source(row: dict[str, Any], folder: Path) -> Path:
    path, nifti = row.get("path"), row.get("nifti")
    if isinstance(nifti, bytes) and nifti:
        source = folder / "scan.nii.gz"
        source.write_bytes(nifti if nifti.startswith(GZIP) else gzip.compress(nifti))
        return source
    if isinstance(path, str) and path:
        return Path(path)
    raise MlflowException.invalid_parameter_value("Each row needs 'path' (of a scan) or 'nifti' (a file's contents).")


mlflow.models.set_model(Served())
