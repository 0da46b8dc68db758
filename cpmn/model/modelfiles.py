"""Where a model's files lie: a decision, and a plan and weights of each fold, by the same names everywhere."""

from pathlib import Path
from typing import Protocol

from cpmn.errors import CpmnError
from cpmn.model.plan import PLAN_FILE, WEIGHTS_FILE

DECISION_FILE = "decision.json"


class ModelFiles(Protocol):
    """Files of one model; `where` names it in messages."""

    where: str

    def read(self, name: str) -> bytes:
        """Contents of a file such as `decision.json` or `fold-0/plan.json`. Raises CpmnError if it is not there."""
        ...


class RunFiles:
    """A variant of a finished run, or one that is about to be sealed: `train/{variant}` and `evaluate/{variant}`."""

    def __init__(self, results: Path, variant: str):
        self.results, self.variant = Path(results), variant
        self.where = str(self.path(DECISION_FILE))

    def path(self, name: str) -> Path:
        """Where a file of the model lies."""
        stage = "evaluate" if name == DECISION_FILE else "train"
        return self.results / stage / self.variant / name

    def read(self, name: str) -> bytes:
        path = self.path(name)
        if not path.is_file():
            raise CpmnError(f"{self.results} holds no whole model '{self.variant}': {path} is absent. Train it again.")
        return path.read_bytes()


def fold_files(fold: int) -> tuple[str, str]:
    """Names of a fold's plan and weights."""
    return f"fold-{fold}/{PLAN_FILE}", f"fold-{fold}/{WEIGHTS_FILE}"
