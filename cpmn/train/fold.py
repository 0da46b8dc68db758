"""One fold of one variant, as a value: made by the rule's script, handed to the processes that train it."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from cpmn.config.train import TrainConfig


class FoldJob(BaseModel):
    """What a training is asked to do. Goes to other processes as JSON (`model_dump_json`, `model_validate_json`).

    variant, fold : names for the plan; `config` is the variant's resolved configuration.
    training, validation : patients of the two parts.
    labels : 1 = PE, 0 = not, for every patient of both.
    paired : patients with a usable CTPA; the others train the NCT pathway alone.
    masked : patients with a vessel mask, of which `vein_fraction` takes the veins.
    excluded : patients that take no part, with the reason (failed stages, failed registration).
    crops : folder with `{patient}/{nct,ctpa,embolus,lung,vessels}.nii.gz`; nothing else is read.
    folder : where the model goes, and `.resume/` while it trains.
    threads : processor threads of all processes together.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    variant: str
    fold: int
    config: TrainConfig
    training: tuple[str, ...]
    validation: tuple[str, ...]
    labels: dict[str, int]
    paired: frozenset[str]
    masked: frozenset[str] = frozenset()
    excluded: dict[str, str] = Field(default_factory=dict)
    crops: Path
    folder: Path
    threads: int = 1

    @property
    def patients(self) -> tuple[str, ...]:
        """Patients of both parts."""
        return self.training + self.validation
