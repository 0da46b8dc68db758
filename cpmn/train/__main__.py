"""One of the processes that train a fold together: `torchrun ... -m cpmn.train JOB.json`.

`cpmn.train.launch` writes the job, starts this and holds its standard input open: once that closes the launcher
is gone, perhaps killed, and a training that went on alone would write into the same folder as the next. The first
process appends every epoch to `rows.jsonl` beside it, where the launcher reads it.
"""

import json
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

from cpmn.train.fold import FoldJob
from cpmn.train.launch import ROWS_FILE
from cpmn.train.stage import train_fold


def main(path: Path) -> None:
    """Train the fold that the JSON file describes (`FoldJob`)."""
    if os.environ.get("RANK", "0") == "0":
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    threading.Thread(target=_end_with_launcher, daemon=True).start()
    rows = path.with_name(ROWS_FILE)

    def append(row: dict[str, Any]) -> None:
        with rows.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")

    train_fold(FoldJob.model_validate_json(path.read_text(encoding="utf-8")), on_epoch=append)


def _end_with_launcher() -> None:
    os.read(sys.stdin.fileno(), 1)  # not `sys.stdin.read`, whose lock must be free when this process ends by itself
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
