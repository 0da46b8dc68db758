"""`run.json`: what was run, on what, with which seeds, and how long it took."""

from collections.abc import Iterator
from statistics import median
from typing import Any

import pandas as pd

from cpmn.config.root import Config
from cpmn.job.versions import versions
from cpmn.report.collect import Results, number

MACHINE = ("platform", "cores")


def run_record(results: Results, config: Config, flags: dict[str, Any]) -> dict[str, Any]:
    """Versions, devices, weights (count), seeds, data hash, run times (s) and numbers of patients of a run.

    Weights are those of the NCT pathway, of the fold that has most. Without paths or host names.
    """
    plans, machine = results.plans, versions()
    return {
        "synthetic": flags.get("synthetic"),
        "simulated": flags.get("simulated") or None,
        "cohort": flags.get("cohort") or None,
        "difficulty": flags.get("difficulty") or None,
        "commit": flags.get("commit") or None,
        "data_hash": flags.get("data_hash") or None,
        "versions": {name: text for name, text in machine.items() if name not in MACHINE},
        "machine": {name: machine[name] for name in MACHINE},
        "device": {variant: next(_each(plans[variant], "device"), None) for variant in plans},
        "parameters": {variant: max(_each(plans[variant], "parameters"), default=None) for variant in plans},
        "seeds": _seeds(results, config, flags.get("simulated") == "all"),
        "patients": {
            "cohort": len(results.patients),
            "excluded": len(results.excluded),
            "test": len(results.test),
        },
        "registered": list(results.quality),
        "variants": results.variants,
        "seconds": _seconds(results),
    }


def _each(plans: dict[str, dict[str, Any]], key: str) -> Iterator[Any]:
    """The plans' values of `key`, by fold, where they have one."""
    return (plan[key] for plan in plans.values() if plan.get(key) is not None)


def training_seconds(curve: pd.DataFrame) -> float | None:
    """Seconds of a training: `seconds` of its last row are counted from the start, through interruptions."""
    index = curve["seconds"].last_valid_index() if "seconds" in curve else None
    return None if index is None else float(curve["seconds"].loc[index])


def _seeds(results: Results, config: Config, synthetic: bool) -> dict[str, Any]:
    variants = {name: variant.get("seed", config.train.seed) for name, variant in results.variants.items()}
    seeds: dict[str, Any] = {
        "splits": results.splits.get("seed", config.train.seed),
        "train": variants,
        "register": config.register_.seed,
        "bootstrap": config.evaluate.seed,
    }
    return seeds | ({"phantom": config.phantom.seed} if synthetic else {})


def _seconds(results: Results) -> dict[str, Any]:
    registered = [s for quality in results.quality.values() if (s := number(quality.get("seconds"))) is not None]
    train = {
        variant: {fold: training_seconds(curve) for fold, curve in folds.items()}
        for variant, folds in results.history.items()
    }
    register = {"total": sum(registered), "median": median(registered)} if registered else None
    return {"register": register, "train": train}
