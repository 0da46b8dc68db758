"""One fold of one variant, as a value: made by the rule's script, handed to the processes that train it."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from cpmn.config.train import Phase, TrainConfig
from cpmn.train.subjects import crop_files


class FoldJob(BaseModel):
    """What a training is asked to do. Goes to other processes as JSON (`model_dump_json`, `model_validate_json`).

    variant, fold : names for the plan; `config` is the variant's resolved configuration.
    training, validation : patients of the two parts.
    labels : 1 = PE, 0 = not, for every patient of both.
    paired : patients with an NCT and a usable CTPA; the others train one pathway alone.
    ctpa_alone : patients without an NCT, whose crop shows the CTPA.
    reported : PE patients whose clots nobody outlined: what their crop marks was made by `annotate`, or is empty.
    masked : patients with a vessel mask, of which `vein_fraction` takes the veins.
    excluded : patients that take no part, with the reason (failed stages, failed registration).
    crops : folder with `{patient}/{nct,ctpa,embolus,lung,vessels}.nii.gz`; nothing else is read.
    ctpa_crops : the same for patients without an NCT.
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
    ctpa_alone: frozenset[str] = frozenset()
    reported: frozenset[str] = frozenset()
    masked: frozenset[str] = frozenset()
    excluded: dict[str, str] = Field(default_factory=dict)
    crops: Path
    ctpa_crops: Path | None = None
    folder: Path
    threads: int = 1

    @property
    def patients(self) -> tuple[str, ...]:
        """Patients of both parts."""
        return self.training + self.validation

    def phases(self, patient: str) -> tuple[Phase, ...]:
        """Phases of a patient that this training reads."""
        if patient in self.ctpa_alone:
            return ("ctpa",)
        return ("nct", "ctpa") if patient in self.paired else ("nct",)

    def files(self, patient: str) -> dict[str, Path]:
        """Files of a patient's crop that this training reads."""
        folder = self.ctpa_crops if patient in self.ctpa_alone else self.crops
        assert folder is not None
        return crop_files(folder / patient, self.phases(patient), patient in self.masked)
