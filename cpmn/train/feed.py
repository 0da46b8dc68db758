"""The batches of each step, sampled when they are needed or, while a GPU computes, some steps ahead."""

from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from cpmn.config.train import TrainConfig
from cpmn.train.processes import World
from cpmn.train.sampling import Batch, sample_batch
from cpmn.train.subjects import Subject


class Sampler:
    """This process' batches, step by step from `first` to before `end`; a context, at whose end nothing is sampled.

    A batch depends on seed, step and part alone, so that it is the same however early it is sampled. `ahead` is the
    number of steps that threads work ahead; 0 samples each batch when it is asked for.
    """

    def __init__(
        self, subjects: Sequence[Subject], config: TrainConfig, first: int, end: int, world: World, *, ahead: int
    ):
        self.subjects, self.config, self.parts = subjects, config, world.share(range(config.machine.accumulation))
        self.step, self.submitted, self.end = first, first, end
        self.waiting: deque[list[Future[Batch]]] = deque()
        self.ahead = ahead
        self.pool = ThreadPoolExecutor(max_workers=ahead, thread_name_prefix="sampling") if ahead else None

    def __enter__(self) -> "Sampler":
        return self

    def __exit__(self, *_exception: object) -> None:
        if self.pool:
            self.pool.shutdown(cancel_futures=True)

    def next_step(self) -> Iterable[Batch]:
        """Batches of the next step."""
        step, self.step = self.step, self.step + 1
        if self.pool is None:
            return (self._sample(step, part) for part in self.parts)
        while self.submitted <= min(step + self.ahead, self.end - 1):
            self.waiting.append([self.pool.submit(self._sample, self.submitted, part) for part in self.parts])
            self.submitted += 1
        return (future.result() for future in self.waiting.popleft())

    def _sample(self, step: int, part: int) -> Batch:
        return sample_batch(self.subjects, self.config, step, part)
