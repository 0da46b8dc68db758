"""Where a model's files lie: a decision, and a plan and weights of each fold, by the same names everywhere."""

import zipfile
import zlib
from pathlib import Path
from typing import Protocol

from cpmn.errors import CpmnError
from cpmn.files import BOUNDED_METHODS
from cpmn.model.plan import PLAN_FILE, WEIGHTS_FILE

DECISION_FILE, CARD_FILE, LICENCE_FILE = "decision.json", "model_card.md", "LICENCE.txt"
SUFFIX = ".cpmn"
LARGEST_TEXT, LARGEST_WEIGHTS = 16 * 2**20, 2 * 2**30  # bytes of a file, unpacked; our choice: networks have 20 MB
MOST_FILES = 3000  # our choice: a thousand folds


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
        if name == CARD_FILE:
            return self.results / "report" / name
        stage = "evaluate" if name == DECISION_FILE else "train"
        return self.results / stage / self.variant / name

    def read(self, name: str) -> bytes:
        return _read(self.path(name))


class FolderFiles:
    """A model file that was unpacked."""

    def __init__(self, folder: Path):
        self.folder, self.where = Path(folder), str(folder)

    def path(self, name: str) -> Path:
        """Where a file of the model lies."""
        return self.folder / name

    def read(self, name: str) -> bytes:
        return _read(self.path(name))


class ZippedFiles:
    """A model file, as `cpmn export` writes it. Nothing is unpacked to disk: members are read by their exact names.

    Raises CpmnError for a file that is no zip archive or holds more than a model.
    """

    def __init__(self, path: Path):
        self.file, self.where = Path(path), str(path)
        try:
            with zipfile.ZipFile(path) as opened:
                names = [member.filename for member in opened.infolist()]
        except (zipfile.BadZipFile, OSError, UnicodeDecodeError, NotImplementedError) as error:
            raise CpmnError(f"{path} is no model file ({error}). `cpmn export` makes one; copy it again.") from error
        if len(names) > MOST_FILES or len(set(names)) < len(names):
            raise CpmnError(f"{path} is no model file: it holds too many files, or one name twice.")

    def read(self, name: str) -> bytes:
        largest = LARGEST_WEIGHTS if name.endswith(WEIGHTS_FILE) else LARGEST_TEXT
        try:
            with zipfile.ZipFile(self.file) as opened:
                member = opened.getinfo(name)
                # As declared. zipfile gives no more than that of what is packed by Deflate or not at all.
                if member.file_size > largest or member.compress_type not in BOUNDED_METHODS:
                    raise CpmnError(
                        f"{self.where}: {name} is larger than {largest} bytes or packed by another method than "
                        "Deflate. It is no model of ours."
                    )
                return opened.read(member)
        except KeyError as error:
            raise CpmnError(f"{self.where} is no whole model: it holds no {name}. Export it again.") from error
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
            raise CpmnError(f"{self.where}: {name} cannot be read ({error}). Copy or export it again.") from error


def find_model(model: Path, variant: str) -> RunFiles | FolderFiles | ZippedFiles:
    """The files of a model: a .cpmn file, a folder that one was unpacked to, or a run's folder or its results.

    `variant` chooses in a run. Raises CpmnError if there is no model; of a run it names the variants that are there.
    """
    model = Path(model)
    if model.is_file():
        return ZippedFiles(model)
    if (model / DECISION_FILE).is_file():
        return FolderFiles(model)
    results = model / "results" if (model / "results" / "evaluate").is_dir() else model
    files = RunFiles(results, variant)
    if not Path(files.where).is_file():
        there = sorted(found.parent.name for found in results.glob(f"evaluate/*/{DECISION_FILE}"))
        available = f" Variants there: {', '.join(there)}." if there else ""
        raise CpmnError(
            f"{model} holds no trained and evaluated model '{variant}' ({files.where} is absent).{available} "
            "Run `snakemake --cores N` first, or name another file or folder with --model."
        )
    return files


def fold_files(fold: int | str) -> tuple[str, str]:
    """Names of a fold's plan and weights."""
    return f"fold-{fold}/{PLAN_FILE}", f"fold-{fold}/{WEIGHTS_FILE}"


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise CpmnError(f"{path} is absent: this is no whole model. Bring the file back, or train and evaluate again.")
    return path.read_bytes()
