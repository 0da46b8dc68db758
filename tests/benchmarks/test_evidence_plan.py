import pytest
from pydantic import ValidationError

from benchmarks.evidence.jobs import list_jobs
from benchmarks.evidence.plan import Plan, cohort_patients, load_plan, training_config
from benchmarks.evidence.training import model_name
from tests.benchmarks.conftest import make_plan

TRIAL = {"difficulty": "learnable", "variant": "nct_only", "trial": "one", "scored": ["development"]}


def test_the_plan_in_the_repository_is_valid_and_its_settings_resolve():
    plan = load_plan()
    assert all(model_name(plan, run).startswith(f"{run.source}/{run.variant}-s{run.seed}-") for run in plan.runs)
    seeds = [seed for by_difficulty in plan.seeds.values() for seed in by_difficulty.values()]
    assert len(set(seeds)) == len(seeds)


def test_a_larger_cohort_only_adds_patients():
    small = make_plan()
    sizes = {"learnable": small.sizes["learnable"] | {"test": {"pe": 9, "normal": 30}}}
    before = cohort_patients(small, "learnable", "test")
    after = cohort_patients(Plan.model_validate(small.model_dump() | {"sizes": sizes}), "learnable", "test")
    assert sum(before.values()) == 4
    assert len(before) == 9
    assert (sum(after.values()), len(after)) == (9, 39)
    assert before.items() <= after.items()


def test_trials_never_see_a_locked_cohort():
    with pytest.raises(ValidationError, match="development cohort and an opened one alone"):
        make_plan(runs=[TRIAL | {"scored": ["development", "test"]}])


def test_a_final_run_needs_the_calibration_cohort():
    with pytest.raises(ValidationError, match="needs the calibration cohort"):
        make_plan(runs=[{"difficulty": "learnable", "variant": "nct_only", "scored": ["test"]}])


def test_an_analysis_is_a_trial():
    with pytest.raises(ValidationError, match="needs a name under `trial`"):
        make_plan(runs=[{"difficulty": "learnable", "variant": "nct_only", "analysis": True}])


@pytest.mark.parametrize("frozen", [True, False])
def test_the_locked_cohort_waits_for_the_choice(made, frozen):
    jobs = {job.name: job for job in list_jobs(make_plan(frozen=["learnable"] if frozen else []))}
    waits = "the choice of the recipe for learnable" in jobs["patients learnable-test"].needs
    assert waits is not frozen
    assert not jobs["patients learnable-calibration"].needs


def test_a_trial_that_became_the_recipe_is_not_trained_again(made):
    plan = make_plan(runs=[TRIAL, {"difficulty": "learnable", "variant": "nct_only"}])
    trainings = [job.name for job in list_jobs(plan) if job.name.startswith("train ")]
    assert len(trainings) == 1


def test_settings_of_a_run_override_the_recipe_and_its_difficulty():
    run = {"difficulty": "learnable", "variant": "nct_only_long", "seed": 2, "settings": {"steps_times": 2.0}}
    plan = make_plan(recipes={"learnable": {"batch_size": 3}}, runs=[run])
    config = training_config(plan, plan.runs[0])
    assert (config.steps, config.batch_size, config.seed, config.pathways) == (20, 3, 2, ("nct",))


def test_a_run_may_keep_an_earlier_recipe_by_its_name():
    recipes = {"learnable": {"batch_size": 3}, "learnable-first": {"batch_size": 2}}
    earlier = {"difficulty": "learnable", "variant": "cpmn", "recipe": "learnable-first"}
    plan = make_plan(recipes=recipes, runs=[earlier, {"difficulty": "learnable", "variant": "nct_only"}])
    assert [training_config(plan, run).batch_size for run in plan.runs] == [2, 3]
    with pytest.raises(ValidationError, match="recipes that are not there: learnable-first"):
        make_plan(runs=[earlier])


def test_a_network_from_another_difficulty_is_trained_there_and_scored_here(made):
    there = {"difficulty": "learnable", "variant": "cpmn"}
    sizes = make_plan().model_dump()["sizes"] | {"mixed": make_plan().model_dump()["sizes"]["learnable"]}
    transfer = {"difficulty": "mixed", "variant": "cpmn", "trained_on": "learnable"}
    seeds = {role: seed | {"mixed": 10 + n} for n, (role, seed) in enumerate(make_plan().seeds.items())}
    targets = {"learnable": 0.95, "mixed": 0.95}
    plan = make_plan(runs=[there, transfer], sizes=sizes, seeds=seeds, target_specificity=targets)
    names = [job.name for job in list_jobs(plan)]
    assert len([name for name in names if name.startswith("train ")]) == 1
    assert plan.runs[1].name == "mixed/cpmn-of-learnable-s0"
    assert model_name(plan, plan.runs[0]) == model_name(plan, plan.runs[1])
    assert {name.split()[-1] for name in names if name.startswith("score ")} == {
        f"{difficulty}-{role}" for difficulty in ("learnable", "mixed") for role in ("calibration", "test")
    }
    assert "cohort mixed" not in names
