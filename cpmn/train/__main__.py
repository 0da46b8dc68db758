"""One of the processes that train a fold together: `torchrun ... -m cpmn.train JOB.json [LOG]`.

`cpmn.train.launch` writes the job, starts this and holds its standard input open: once that closes the launcher
is gone, perhaps killed, and a training that went on alone would write into the same folder as the next. The first
process appends every epoch to `rows.jsonl` beside it, where the launcher reads it.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cpmn.job.logs import ending_in_a_message
from cpmn.train.fold import FoldJob
from cpmn.train.launch import ROWS_FILE
from cpmn.train.stage import train_fold


def main(path: Path, logs: Sequence[str] = ()) -> None:
    """Train the fold that the JSON file describes (`FoldJob`); what it says goes to the terminal and to `logs`.

    The first process says all, the others why they fail. A CpmnError ends with its message and exit code 2.
    """
    rank = int(os.environ.get("RANK", "0"))
    handlers = [logging.StreamHandler(), *(logging.FileHandler(log, mode="a", encoding="utf-8") for log in logs)]
    level = logging.ERROR if rank else logging.INFO
    logging.basicConfig(level=level, format=f"%(asctime)s %(levelname)s process {rank}: %(message)s", handlers=handlers)
    threading.Thread(target=_end_with_launcher, daemon=True).start()
    rows = path.with_name(ROWS_FILE)

    def append(row: dict[str, Any]) -> None:
        with rows.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")

    with ending_in_a_message():
        train_fold(FoldJob.model_validate_json(path.read_text(encoding="utf-8")), on_epoch=append)


def _end_with_launcher() -> None:
    os.read(sys.stdin.fileno(), 1)  # not `sys.stdin.read`, whose lock must be free when this process ends by itself
    os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
