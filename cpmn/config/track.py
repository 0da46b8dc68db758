"""Settings of `track`: MLflow."""

from typing import Literal

from pydantic import Field

from cpmn.config.section import Section


class TrackConfig(Section):
    """Where runs are recorded. Training never depends on it."""

    enabled: bool = Field(default=True, description="Whether runs are recorded in MLflow.")
    uri: str = Field(
        default="", description="MLflow tracking address; empty means sqlite:///mlflow.db in the run's folder."
    )
    champion_metric: Literal["patient.auc", "voxel.dice"] = Field(
        default="patient.auc",
        description="What a variant must improve to become `champion` (`snakemake promote`).",
    )
