"""Several processes that train one model together, started by `torchrun`.

A step consists of `accumulation` batches whose gradients are averaged. One process works through them one after
another; several share them out and add their gradients up. Both ways are the same sum, so the number of processes
changes nothing but its rounding. A reduction of all gradients at once suits networks of a few megabytes; PyTorch's
DistributedDataParallel would hide the transfer of large ones, but assumes that every process uses every weight, which
does not hold where a batch has no CTPA.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

from cpmn.errors import CpmnError

TIMEOUT = timedelta(hours=2)  # ours: the first process prepares the volumes while the others wait


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

    def add_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Sum of all processes' gradients; what no process has a gradient for keeps none."""
        if self.size == 1:
            return
        weights = list(parameters)
        known = torch.tensor([weight.grad is not None for weight in weights], dtype=torch.float32)
        gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        flat = torch.cat([known.to(weights[0].device), *(gradient.flatten() for gradient in gradients)])
        distributed.all_reduce(flat)
        sums = flat[len(weights) :].split([weight.numel() for weight in weights])
        for weight, count, total in zip(weights, flat[: len(weights)].tolist(), sums, strict=True):
            weight.grad = total.view_as(weight).clone() if count else None

    def wait(self) -> None:
        """Until every process has come here."""
        if self.size > 1:
            distributed.barrier()

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
    """The GPU of this process, by the number that `torchrun` gave it; any other device as it is."""
    if device.type != "cuda":
        return device
    own = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
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
