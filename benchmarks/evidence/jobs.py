"""The plan as jobs: what each needs, whether it is done, and how it is done."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from benchmarks.evidence import cohorts, preprocessing, scoring, training
from benchmarks.evidence.plan import TRUTH, Difficulty, Plan, Role, Run


@dataclass(frozen=True)
class Job:
    """A job on one core: `needs` are names of jobs that must be done first."""

    name: str
    needs: tuple[str, ...]
    is_done: Callable[[], bool]
    work: Callable[[], None]


def list_jobs(plan: Plan) -> list[Job]:
    """All jobs of the plan, each once, in the order in which they are worth doing: that of the runs."""
    jobs: dict[str, Job] = {}
    for run in plan.runs:
        for job in _jobs_of(plan, run):
            jobs.setdefault(job.name, job)
    return list(jobs.values())


def _jobs_of(plan: Plan, run: Run) -> Iterator[Job]:
    """A run's jobs; of one that is stored only the last, so that nothing is made again on another machine."""
    stored = partial(scoring.is_stored, plan, run)
    if not stored():
        yield from _making_of(plan, run)
    needs = tuple(job.name for job in _readings(plan, run))
    yield Job(f"store {run.name}", needs, stored, partial(scoring.store_results, plan, run))


def _making_of(plan: Plan, run: Run) -> Iterator[Job]:
    difficulty, exact = run.source, run.variant == TRUTH
    cohort, crops = f"cohort {difficulty}", f"crops {difficulty}{'-truth' if exact else ''}"
    made = partial(cohorts.is_training_cohort_made, difficulty)
    yield Job(cohort, (), made, partial(cohorts.make_training_cohort, plan, difficulty))
    halves = []
    for part in range(preprocessing.PARTS):
        arguments = (plan, difficulty, exact, part)
        cropped = partial(_none, partial(preprocessing.missing_crops, *arguments))
        halves.append(f"{crops} {part + 1}/{preprocessing.PARTS}")
        yield Job(halves[-1], (cohort,), cropped, partial(preprocessing.preprocess, *arguments))
    needs = (*halves, *([] if run.trial else _choice(plan, difficulty)))
    model, trained = training.model_name(plan, run), partial(training.is_trained, plan, run)
    yield Job(f"train {model}", needs, trained, partial(training.train_run, plan, run))
    for role in run.scored:
        yield _patients(plan, run, role)
    yield from _readings(plan, run)


def _patients(plan: Plan, run: Run, role: Role) -> Job:
    made = partial(_none, partial(cohorts.missing_patients, plan, run.difficulty, role))
    locked = _choice(plan, run.difficulty) if role == "test" else []
    make = partial(cohorts.make_patients, plan, run.difficulty, role)
    return Job(f"patients {run.difficulty}-{role}", tuple(locked), made, make)


def _readings(plan: Plan, run: Run) -> Iterator[Job]:
    model, choice = training.model_name(plan, run), [] if run.trial else _choice(plan, run.difficulty)
    for role in run.scored:
        cohort = f"{run.difficulty}-{role}"
        needs = (f"train {model}", f"patients {cohort}", *choice)
        read = partial(scoring.score_run, plan, run, role)
        yield Job(f"score {model} {cohort}", needs, partial(_is_scored, plan, run, role), read)


def _choice(plan: Plan, difficulty: Difficulty) -> list[str]:
    """What final runs and the locked cohort wait for: a name that no job has, until the plan says `frozen`."""
    return [] if difficulty in plan.frozen else [f"the choice of the recipe for {difficulty}"]


def _none(missing: Callable[[], list[str]]) -> bool:
    return not missing()


def _is_scored(plan: Plan, run: Run, role: Role) -> bool:
    return training.is_trained(plan, run) and not scoring.missing_scores(plan, run, role)
