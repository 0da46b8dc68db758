"""Settings of `track`: MLflow."""

from pydantic import Field

from cpmn.config.section import Section


class TrackConfig(Section):
    """Where runs are recorded. Training never depends on it."""

    enabled: bool = Field(True, description="Whether runs are recorded in MLflow.")
    uri: str = Field("", description="MLflow tracking address; empty means sqlite:///mlflow.db in the run's folder.")
