"""Several processes that train one model together, started by `torchrun`.

A step consists of `accumulation` batches whose gradients are averaged. One process works through them one after
another; several share them out, and PyTorch's DistributedDataParallel averages their gradients. Both ways are the same
mean, so the number of processes changes nothing but its rounding, and what hangs on it (hard negatives).
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from cpmn.errors import CpmnError

TIMEOUT = timedelta(days=7)
"""Ours: longer than any wait, which grows with the cohort and its files. Where a process fails, `torchrun` ends the
others at once."""


@dataclass(frozen=True)
class World:
    """The processes of one training; `rank` is this one's number, and number 0 writes the files."""

    rank: int = 0
    size: int = 1

    @property
    def writes(self) -> bool:
        return self.rank == 0

    def share(self, items: Sequence[Any]) -> list[Any]:
        """This process' part of `items`: every `size`-th."""
        return list(items[self.rank :: self.size])

    def gather(self, mine: Sequence[Any]) -> list[Any]:
        """All processes' parts back in the order of the whole; every process gets them."""
        if self.size == 1:
            return list(mine)
        parts: list[Any] = [None] * self.size
        distributed.all_gather_object(parts, list(mine))
        return [parts[n % self.size][n // self.size] for n in range(sum(map(len, parts)))]

    def averaging(self, networks: nn.Module) -> nn.Module:
        """The networks, whose gradients a backward pass averages over the processes.

        What no process has a gradient for keeps none: a batch without any CTPA leaves the CTPA's pathway unused.
        """
        return networks if self.size == 1 else DistributedDataParallel(networks, find_unused_parameters=True)

    def adding_up(self, networks: nn.Module, last: bool) -> AbstractContextManager[None]:
        """Around forward and backward pass of a batch: only after a step's `last` one are gradients averaged."""
        if isinstance(networks, DistributedDataParallel) and not last:
            return networks.no_sync()
        return nullcontext()

    def wait(self) -> None:
        """Until every process has come here."""
        if self.size > 1:
            try:
                distributed.barrier()
            except RuntimeError as error:
                raise CpmnError("another process of this training failed: see its message.") from error

    @contextmanager
    def first_process_first(self) -> Iterator[None]:
        """The first process runs the block, then the others: what it wrote, they find."""
        if not self.writes:
            self.wait()
        yield
        if self.writes:
            self.wait()


ALONE = World()


def own_device(device: torch.device) -> torch.device:
    """The GPU of this process, by the number that `torchrun` gave it; any other device as it is.

    Raises CpmnError if there are fewer GPUs.
    """
    if device.type != "cuda":
        return device
    number, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if number >= there:
        raise CpmnError(f"train.machine.processes asks for {number + 1} GPUs or more, and there are {there}. Lower it.")
    own = torch.device("cuda", number)
    torch.cuda.set_device(own)  # NCCL refuses two processes on one
    return own


@contextmanager
def joined_world(accumulation: int) -> Iterator[World]:
    """The processes that `torchrun` started, or this one alone.

    Raises CpmnError if `accumulation` is not a multiple of their number: some would have nothing to do.
    """
    size = int(os.environ.get("WORLD_SIZE", "1")) if distributed.is_torchelastic_launched() else 1
    if accumulation % size:
        raise CpmnError(
            f"{size} processes need train.machine.accumulation to be a multiple of {size}, not {accumulation}."
        )
    if size == 1:
        yield ALONE
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, timeout=TIMEOUT)
    try:
        yield World(distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()
