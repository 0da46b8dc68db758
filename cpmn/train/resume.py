"""Interrupted training goes on: the state of a training on disk, and the key that says whether it still applies."""

import logging
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from cpmn.files import read_json, sha256_of_files, sha256_of_json, write_json, written_atomically
from cpmn.job.dependencies import code_of

logger = logging.getLogger(__name__)

STATE_FILE = "state.pt"
STAGE = "cpmn.train.stage"  # whose code a training depends on


def resume_key(settings: Any, data: Mapping[str, Iterable[Path]]) -> str:
    """Hash of what a training's result depends on but for the machine: settings, contents of data files, code, PyTorch.

    `settings` is any JSON value; `data` holds each patient's files.
    """
    return sha256_of_json(
        {
            "settings": settings,
            "data": {patient: [sha256_of_files([file]) for file in files] for patient, files in data.items()},
            "code": code_of(STAGE),
            "torch": torch.__version__,
        }
    )


class ResumeFolder:
    """`.resume/`: one subfolder named by the key, with the saved state and the cached volumes.

    What belongs to another key is never read, and removed by `clear_others`.
    """

    def __init__(self, folder: Path, key: str):
        self.folder, self.key = folder, key
        self.current = folder / key[:16]
        self.volumes = self.current / "volumes"
        self.volumes.mkdir(parents=True, exist_ok=True)

    def clear_others(self) -> None:
        """Remove what belongs to another key."""
        for other in self.folder.glob("*"):
            if other != self.current:
                logger.info("%s belongs to another configuration, data or code: training starts afresh", other.name)
                shutil.rmtree(other) if other.is_dir() else other.unlink()

    def once(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `make` gave the first time (JSON): a training that goes on, and its other processes, find it here."""
        path = self.current / name
        if not path.is_file():
            write_json(path, make())
        return read_json(path)

    def save(self, state: dict[str, Any]) -> None:
        """Replace the saved state; `state` holds tensors and plain values."""
        with written_atomically(self.current / STATE_FILE) as temporary:
            torch.save({"key": self.key, **state}, temporary)

    def load(self) -> dict[str, Any] | None:
        """The saved state, or None if there is none of this key or it cannot be read. Never executes its contents."""
        path = self.current / STATE_FILE
        if not path.exists():
            return None
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file makes torch raise anything from KeyError to OSError
            logger.warning("%s cannot be read (%.200r): training starts afresh", path, error)
            return None
        if not isinstance(state, dict):
            logger.warning("%s holds no training: it starts afresh", path)
            return None
        return state if state.get("key") == self.key else None

    def remove(self) -> None:
        """Remove everything, after success. What cannot be removed, on NFS what a process has open, fails nothing."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.exists():
            logger.warning("%s cannot be removed whole. Remove it by hand: nothing needs it", self.folder)
