"""Settings of `track`: MLflow."""

from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, field_validator

from cpmn.config.section import Section

SECRETS = ("password", "passwd", "pwd", "token", "secret")  # in names of an address's options


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

    @field_validator("uri")
    @classmethod
    def _without_secrets(cls, value: str) -> str:
        """The configuration is copied to track.json, run.json and logs."""
        parts = urlsplit(value)
        options = [name.lower() for name, _ in parse_qsl(parts.query)]
        if parts.password or any(word in name for name in options for word in SECRETS):
            raise ValueError(
                "must hold no password, which would be copied to results and logs: give it in the environment, as "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or in the database's own way (PGPASSWORD)"
            )
        return value
