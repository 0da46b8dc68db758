"""A real Slurm of one node, started for the tests and stopped after them.

Debian's `slurm-wlm` and `munge`, started as root in a folder of their own; nothing is written under /etc. What it does
not show: accounting (jobs are followed by `squeue`), several nodes, a shared file system, limits enforced by cgroups,
GPUs (the node counts one that it does not have).
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import install_plugins

DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("munge", "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
START_SECONDS = 60.0
# Where every Slurm command looks without SLURM_CONF, which the executor plugin's job step takes out of the environment.
SITE_CONFIG = Path("/etc/slurm/slurm.conf")
RUN_CONFIG = Path("/run/slurm/conf")

# The node claims processors and memory for the profile's largest request and one GPU, since a test
# machine has less (config_overrides); nothing enforces them (task/none). MinJobAge keeps finished jobs for `scontrol`.
SLURM_CONF = """
ClusterName=cpmn-test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=2
AccountingStorageType=accounting_storage/none
AccountingStoreFlags=job_comment
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
MinJobAge=86400
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=32 RealMemory=128000 Gres=gpu:1 State=UNKNOWN
PartitionName={partition} Nodes={host} Default=NO MaxTime=INFINITE State=UP
"""


class Slurm:
    """A running one-node Slurm; `environment` is what its clients need."""

    partition = "cpmn-test"

    def __init__(self, folder: Path):
        self.folder, self.plugins = folder, folder / "plugins"
        self.environment = {**os.environ, "PATH": _search_path(), "PYTHONPATH": str(self.plugins)}

    def client(self, *command: str) -> str:
        """Standard output of a Slurm command."""
        return subprocess.run(
            command, env=self.environment, check=True, capture_output=True, text=True, timeout=30
        ).stdout

    def jobs(self) -> list[dict[str, str]]:
        """Slurm's own record of every job so far, finished ones too; keys as in `scontrol show job`."""
        lines = self.client("scontrol", "--oneliner", "show", "job").splitlines()
        return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines if "JobId=" in line]


def _search_path() -> str:
    """PATH, with the folders of daemons, which a user's shell may lack."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


def _why_not() -> str:
    """Why no Slurm can start here; empty if one can."""
    if os.geteuid() != 0:
        return "slurmd and munged are started as root, and this is not root"
    missing = [name for name in (*DAEMONS, *CLIENTS) if shutil.which(name, path=_search_path()) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (Debian: apt-get install slurm-wlm munge)"
    try:
        pwd.getpwnam("munge")
    except KeyError:
        return "there is no user munge, as whom munged runs"
    present = [str(path) for path in (SITE_CONFIG, RUN_CONFIG) if path.exists() or path.is_symlink()]
    if present:
        return f"{present[0]} is there: this machine's own Slurm is left alone (if a killed test left it, remove it)"
    return ""


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the daemon is ready; skips the tests with the end of its log if it dies or does not come up."""
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.skip(f"{log.stem} does not start here: {log.read_text(errors='replace')[-1500:]}")
        time.sleep(0.2)


@contextmanager
def _daemon(slurm: Slurm, *command: str, ready: Callable[[], bool], user: str | None = None) -> Iterator[None]:
    """Run a daemon in the foreground and in a session of its own, until the end of the block."""
    path = shutil.which(command[0], path=_search_path())
    assert path is not None
    log = slurm.folder / f"{command[0]}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [path, *command[1:]],
            env={**slurm.environment, "SLURM_CONF": str(slurm.folder / "conf" / "slurm.conf")},
            user=user,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(ready, process, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answers(slurm: Slurm, *command: str, expected: str = "") -> bool:
    try:
        return expected in slurm.client(*command)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return False


def _private(folder: Path) -> Path:
    """A new folder that only munged can enter."""
    folder.mkdir(mode=0o700)
    shutil.chown(folder, "munge")
    return folder


def _munged(slurm: Slurm) -> AbstractContextManager[None]:
    """Authentication, with a key and a socket of its own."""
    secret = _private(slurm.folder / "munge")
    (secret / "key").write_bytes(os.urandom(128))
    (secret / "key").chmod(0o400)
    shutil.chown(secret / "key", "munge")
    files = {"key-file": secret / "key", "seed-file": secret / "seed", "pid-file": secret / "pid"}
    files["socket"] = slurm.folder / "run" / "munge.socket"
    options = [f"--{name}={path}" for name, path in files.items()]
    return _daemon(slurm, "munged", "--foreground", *options, ready=files["socket"].exists, user="munge")


def _configure(slurm: Slurm) -> None:
    """Folders and configuration of the controller and the node."""
    for name in ("run", "state", "spool", "conf"):
        (slurm.folder / name).mkdir()
    shutil.chown(slurm.folder / "run", "munge")
    text = SLURM_CONF.format(
        host=socket.gethostname().split(".")[0],
        folder=slurm.folder,
        controller_port=_free_port(),
        node_port=_free_port(),
        partition=slurm.partition,
    )
    (slurm.folder / "conf" / "slurm.conf").write_text(text)
    # A GPU that is counted and given out, with nothing behind it.
    (slurm.folder / "conf" / "gres.conf").write_text("Name=gpu File=/dev/null\n")


@contextmanager
def _found_by_clients(slurm: Slurm) -> Iterator[None]:
    """Make the configuration the machine's, until the end of the block."""
    made = not RUN_CONFIG.parent.exists()
    RUN_CONFIG.parent.mkdir(exist_ok=True)
    RUN_CONFIG.symlink_to(slurm.folder / "conf")
    try:
        yield
    finally:
        RUN_CONFIG.unlink()
        if made:
            RUN_CONFIG.parent.rmdir()


def _empty(slurm: Slurm) -> None:
    """Cancel every job and wait until none runs."""
    slurm.client("scancel", f"--partition={slurm.partition}")
    deadline = time.monotonic() + 30
    while slurm.client("squeue", "--noheader").strip() and time.monotonic() < deadline:
        time.sleep(0.2)


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """A running one-node Slurm; the tests are skipped with the reason where none can start."""
    reason = _why_not()
    if reason:
        pytest.skip(f"no Slurm: {reason}")
    # Not pytest's own folder: other users, munge among them, must reach the socket, and its path must stay short.
    running = Slurm(Path(tempfile.mkdtemp(prefix="cpmn-slurm-")))
    running.folder.chmod(0o755)
    try:
        _configure(running)
        install_plugins("slurm", running.plugins)
        with ExitStack() as stack:
            stack.enter_context(_found_by_clients(running))
            stack.enter_context(_munged(running))
            up = partial(_answers, running, "scontrol", "ping", expected="UP")
            stack.enter_context(_daemon(running, "slurmctld", "-D", ready=up))
            idle = partial(_answers, running, "sinfo", "--noheader", "--format=%t", expected="idle")
            stack.enter_context(_daemon(running, "slurmd", "-D", ready=idle))
            stack.callback(_empty, running)
            yield running
    finally:
        shutil.rmtree(running.folder, ignore_errors=True)
