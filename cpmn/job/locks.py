"""Snakemake's locks after a crash.

Snakemake marks a working folder as in use by files in `.snakemake/locks`, and a killed Snakemake leaves them behind, so
that the same command then refuses to run. A lock held by the operating system tells the two cases apart: it ends with
its process, however that ends.
"""

import fcntl
from contextlib import suppress
from pathlib import Path
from typing import IO


def clear_stale_locks(folder: Path | str = ".") -> IO[str]:
    """Remove the locks that a killed Snakemake left in `folder`; keep the result for as long as the process lives.

    Removes nothing where another process that called this still runs, a dry run too.
    """
    state = Path(folder) / ".snakemake"
    state.mkdir(parents=True, exist_ok=True)
    mine = (state / "cpmn.lock").open("w")
    with suppress(BlockingIOError):
        fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for stale in (state / "locks").glob("*"):
            stale.unlink()
    fcntl.flock(mine, fcntl.LOCK_SH)  # held by everyone, so that the last to start is protected by its own
    return mine
