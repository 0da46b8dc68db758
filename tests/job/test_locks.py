"""Locks of a killed Snakemake are cleared, those of a living one are not."""

import subprocess
import sys

from cpmn.job.locks import clear_stale_locks

HOLD = "import sys; from cpmn.job.locks import clear_stale_locks; held = clear_stale_locks(sys.argv[1]); "


def leave_lock(folder):
    (folder / ".snakemake/locks").mkdir(parents=True, exist_ok=True)
    path = folder / ".snakemake/locks/0.output.lock"
    path.write_text("results/a")
    return path


def test_a_dead_owner_s_lock_is_cleared(tmp_path):
    lock = leave_lock(tmp_path)
    subprocess.run([sys.executable, "-c", HOLD + "import os; os._exit(9)", str(tmp_path)], check=False)
    assert not clear_stale_locks(tmp_path).closed
    assert not lock.exists()


def test_a_living_owner_s_lock_stays(tmp_path):
    command = [sys.executable, "-c", HOLD + "print('held', flush=True); input()", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        lock = leave_lock(tmp_path)
        mine = clear_stale_locks(tmp_path)
        assert lock.exists()
        owner.communicate("\n")
    # The first, a dry run perhaps, has ended; this process goes on, and the lock is its own.
    subprocess.run([sys.executable, "-c", HOLD, str(tmp_path)], check=True)
    assert lock.exists()
    mine.close()
    clear_stale_locks(tmp_path)
    assert not lock.exists()
