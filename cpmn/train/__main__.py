"""One of the processes that train a fold together: `torchrun --nproc-per-node N -m cpmn.train ARGUMENTS.json`.

`cpmn.train.launch` writes the arguments and starts this. The first process appends every epoch to `rows.jsonl` beside
them, where the launcher reads it.
"""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from cpmn.config.train import TrainConfig
from cpmn.files import read_json
from cpmn.train.launch import ROWS_FILE
from cpmn.train.stage import train_fold


def main(path: Path) -> None:
    """Train the fold that the JSON file describes (see `cpmn.train.launch.launch_fold`)."""
    if os.environ.get("RANK", "0") == "0":
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    given = read_json(path)
    rows = path.with_name(ROWS_FILE)

    def append(row: dict[str, Any]) -> None:
        with rows.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")

    given |= {name: Path(given[name]) for name in ("crops", "folder")}
    given["splits"] = {"folds": {int(fold): parts for fold, parts in given["splits"]["folds"].items()}}
    given |= {"config": TrainConfig.model_validate(given["config"]), "paired": set(given["paired"])}
    train_fold(**given, on_epoch=append)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
