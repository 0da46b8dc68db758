"""What is started, in which order, and what is left alone."""

import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from benchmarks.evidence import queue
from benchmarks.evidence.jobs import Job


@dataclass
class World:
    """Jobs that finish when they are started; `started` is the order, `at_once` the most that ran together."""

    needs: dict[str, tuple[str, ...]]
    done: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    started: list[str] = field(default_factory=list)
    alive: list[subprocess.Popen] = field(default_factory=list)
    at_once: int = 0
    seconds: float = 0.05

    def jobs(self):
        return [Job(name, needs, lambda n=name: n in self.done, lambda: None) for name, needs in self.needs.items()]

    def start(self, name):
        self.started.append(name)
        code = f"import sys, time; time.sleep({self.seconds}); sys.exit({int(name in self.broken)})"
        process = subprocess.Popen([sys.executable, "-S", "-c", code])
        self.alive.append(process)
        self.at_once = max(self.at_once, sum(one.poll() is None for one in self.alive))
        if name not in self.broken:
            self.done.add(name)
        return process


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CPMN_EVIDENCE", str(tmp_path))
    (tmp_path / "CORES").write_text("2\n")
    return tmp_path


def test_needs_come_first_and_what_is_done_is_not_repeated():
    world = World({"store": ("score",), "score": ("train",), "train": ("crops",), "crops": ()}, done={"crops"})
    assert queue.run_all(world.jobs, world.start, poll=0.01) == set()
    assert world.started == ["train", "score", "store"]


def test_a_job_is_not_done_while_it_runs():
    """Its files may be there before its process has ended: what needs it waits for the process."""
    jobs = World({"b": ("a",), "a": ()}, done={"a"}).jobs()
    assert queue.next_job(jobs, running={"a"}, failed=set()) is None


def test_what_needs_a_failed_job_is_left_out_and_the_rest_goes_on():
    world = World({"a": (), "after a": ("a",), "b": ()}, broken={"a"})
    assert queue.run_all(world.jobs, world.start, poll=0.01) == {"a"}
    assert world.started == ["a", "b"]


def test_a_job_that_ends_well_but_leaves_its_work_undone_is_not_started_for_ever():
    world = World({"a": (), "after a": ("a",)})
    start = world.start

    def idle(name):
        process = start(name)
        world.done.discard(name)
        return process

    assert queue.run_all(world.jobs, idle, poll=0.01) == {"a"}
    assert world.started == ["a"]


def test_a_need_that_no_job_fulfils_waits_for_a_person():
    world = World({"locked": ("the choice",), "a": ()})
    queue.run_all(world.jobs, world.start, poll=0.01)
    assert world.started == ["a"]


@pytest.mark.parametrize("cores", [1, 2])
def test_no_more_jobs_at_once_than_allowed(folder, cores):
    (folder / "CORES").write_text(str(cores))
    world = World(dict.fromkeys("abcd", ()))
    queue.run_all(world.jobs, world.start, poll=0.01)
    assert sorted(world.started) == list("abcd")
    assert world.at_once <= cores


def test_jobs_that_join_the_plan_later_are_done_too():
    world = World({"a": ()})

    def jobs():
        if "a" in world.done:
            world.needs["b"] = ("a",)
        return world.jobs()

    queue.run_all(jobs, world.start, poll=0.01)
    assert world.started == ["a", "b"]


def test_a_stopped_queue_leaves_no_job_behind():
    def stop():
        if world.started:
            raise SystemExit(143)
        return world.jobs()

    world = World({"a": ()}, seconds=30)
    with pytest.raises(SystemExit):
        queue.run_all(stop, world.start, poll=0.01)
    assert world.alive[0].wait(10) != 0
