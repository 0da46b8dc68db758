"""`plan.yaml`: cohorts, sizes, the shared recipe and the list of runs."""

import os
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cpmn.cohort.phantom import patient_id, phantom_label
from cpmn.config.phantom import PhantomConfig
from cpmn.config.root import Config, load_config
from cpmn.config.train import TrainConfig
from cpmn.config.variants import resolve_variant

PROJECT = Path(__file__).parents[2]
PLAN_FILE = Path(__file__).with_name("plan.yaml")
RESULTS = PROJECT / "benchmarks" / "results" / "evidence"
CONFIG_FILE = PROJECT / "config" / "benchmark.yaml"
TRUTH = "nct_only_truth"  # a control whose labels are exact: no base of `cpmn.config.variants`, but another cohort
PEERS = ("densenet", "nnunet")  # methods of their own (`benchmarks.evidence.methods`): they read the NCT alone

Difficulty = Literal["learnable", "mixed", "realistic"]
Role = Literal["calibration", "development", "opened", "test"]
"""`opened` is a locked cohort that has been read: choices may be made on it from then on, and `test` is a new one."""
OPEN: frozenset[Role] = frozenset({"development", "opened"})


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Size(_Part):
    """Numbers of patients: the first of each class in the order of the cohort, so that a larger number only adds."""

    pe: int = Field(ge=1)
    normal: int = Field(ge=1)


class Inference(_Part):
    """How scans are read for scoring."""

    overlap: float
    bfloat16: bool
    patch_size: tuple[int, int, int] | None = None
    highest_hu: float | None = None
    segmentation_threshold: float = 0.5


class Run(_Part):
    """One training and the cohorts that it is scored on. `settings` override the recipe; `trial` serves choices.

    `trained_on` names another difficulty to take the network from (transfer); None is the same. An `analysis` is a
    trial that explains a result and is never chosen. `recipe` names another of the plan's `recipes` than that of the
    training cohort's difficulty.
    """

    difficulty: Difficulty
    variant: str
    trained_on: Difficulty | None = None
    seed: int = 0
    trial: str = ""
    analysis: bool = False
    recipe: str = ""
    settings: dict[str, Any] = {}
    scored: tuple[Role, ...] = ("calibration", "test")

    @model_validator(mode="after")
    def _trials_see_no_locked_cohort(self) -> "Run":
        if self.trial and not set(self.scored) <= OPEN:
            raise ValueError(f"trial {self.trial} may be scored on the development cohort and an opened one alone")
        if not self.trial and "calibration" not in self.scored:
            raise ValueError(f"{self.name} needs the calibration cohort, which score and threshold are fitted on")
        if self.analysis and not self.trial:
            raise ValueError(f"the analysis with {self.variant} on {self.difficulty} needs a name under `trial`")
        return self

    @property
    def source(self) -> Difficulty:
        """Difficulty of the training cohort."""
        return self.trained_on or self.difficulty

    @property
    def label(self) -> str:
        """The variant, and where it was trained if that was elsewhere."""
        return self.variant if self.source == self.difficulty else f"{self.variant}-of-{self.source}"

    @property
    def name(self) -> str:
        """`difficulty/label-sSEED`, `difficulty/opened/label-sSEED` or `difficulty/trials/TRIAL`; names folders."""
        if self.trial:
            return f"{self.difficulty}/trials/{self.trial}"
        part = "" if self.judged == "test" else f"{self.judged}/"
        return f"{self.difficulty}/{part}{self.label}-s{self.seed}"

    @property
    def judged(self) -> Role:
        """The cohort whose figures count: of a final run the locked one, or the one that was locked then."""
        if self.trial:
            return "development"
        return "test" if "test" in self.scored else "opened"


class Plan(_Part):
    """Contents of `plan.yaml`."""

    training_patients: int
    training_split: int = Field(description="So many first patients train, the others validate.")
    seeds: dict[str, dict[Difficulty, int]]
    sizes: dict[Difficulty, dict[Role, Size]]
    target_specificity: dict[Difficulty, float]
    inference: Inference
    frozen: tuple[Difficulty, ...] = Field(
        default=(), description="Difficulties whose recipe is chosen: only there may the locked cohort be made."
    )
    recipe: dict[str, Any]
    recipes: dict[str, dict[str, Any]] = Field(
        default={}, description="What changes the recipe, by difficulty or name."
    )
    runs: tuple[Run, ...]
    gaps: tuple[str, ...] = Field(default=(), description="Runs whose training patients are read by their own network.")
    compared: tuple[tuple[str, str], ...] = Field(default=(), description="Pairs of runs that the document compares.")

    @model_validator(mode="after")
    def _names_differ(self) -> "Plan":
        names = [run.name for run in self.runs]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"runs that stand twice: {', '.join(sorted(twice))}")
        if unknown := {run.recipe for run in self.runs if run.recipe} - set(self.recipes):
            raise ValueError(f"recipes that are not there: {', '.join(sorted(unknown))}")
        if unknown := {name for pair in (*self.compared, self.gaps) for name in pair} - set(names):
            raise ValueError(f"named, but not among the runs: {', '.join(sorted(unknown))}")
        return self


def load_plan(path: Path = PLAN_FILE) -> Plan:
    """Read and check the plan. Raises pydantic's ValidationError."""
    return Plan.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def data_root() -> Path:
    """Where cohorts, models and scores lie."""
    return Path(os.environ.get("CPMN_EVIDENCE", "results/benchmarks/evidence")).absolute()


def training_config(plan: Plan, run: Run) -> TrainConfig:
    """Settings of a training: the recipe, the difficulty's own, the variant's, the run's."""
    values = plan.recipe | plan.recipes.get(run.recipe or run.source, {})
    base = "nct_only" if run.variant in (TRUTH, *PEERS) else run.variant
    custom = {"run": {"base": base, "seed": run.seed, **run.settings}}
    return resolve_variant(TrainConfig.model_validate(values), "run", custom)


def phantom_config(plan: Plan, difficulty: Difficulty, role: str) -> PhantomConfig:
    """Settings of the phantom that a cohort is made with."""
    return read_config(CONFIG_FILE).phantom.model_copy(
        update={"seed": plan.seeds[role][difficulty], "difficulty": difficulty}
    )


def read_config(path: Path) -> Config:
    """Settings of a configuration file."""
    return load_config(yaml.safe_load(path.read_text(encoding="utf-8")))


def cohort_patients(plan: Plan, difficulty: Difficulty, role: Role) -> dict[str, int]:
    """Label by patient of a scoring cohort: the first of each class, in the order of the cohort."""
    seed, size = plan.seeds[role][difficulty], plan.sizes[difficulty][role]
    labels = {patient_id(index): phantom_label(seed, index) for index in range(2 * max(size.pe, size.normal))}
    chosen = [name for label, count in ((1, size.pe), (0, size.normal)) for name in _first(labels, label, count)]
    return {name: labels[name] for name in sorted(chosen, key=list(labels).index)}


def _first(labels: dict[str, int], label: int, count: int) -> list[str]:
    return [name for name, value in labels.items() if value == label][:count]
