"""`run.json`: what was run, on what, with which seeds, and how long it took."""

from statistics import median
from typing import Any

from cpmn.config.root import Config
from cpmn.report.collect import Curve, Results, number
from cpmn.versions import versions

MACHINE = ("platform", "cores")


def run_record(results: Results, config: Config, flags: dict[str, Any]) -> dict[str, Any]:
    """Versions, devices, weights of the NCT pathways (count), seeds, data hash, run times (s) and counts of patients.

    Without paths or host names.
    """
    plans, machine = results.plans, versions()
    return {
        "synthetic": bool(flags.get("synthetic")),
        "simulated": flags.get("simulated") or None,
        "cohort": flags.get("cohort") or None,
        "difficulty": flags.get("difficulty") or None,
        "commit": flags.get("commit") or None,
        "data_hash": flags.get("data_hash") or None,
        "versions": {name: text for name, text in machine.items() if name not in MACHINE},
        "machine": {name: machine[name] for name in MACHINE},
        "device": {variant: plan.get("device") for variant, plan in plans.items()},
        "parameters": {variant: plan.get("parameters") for variant, plan in plans.items()},
        "seeds": _seeds(results, config, flags.get("simulated") == "all"),
        "patients": {
            "cohort": len(results.patients),
            "excluded": len(results.excluded),
            "test": len(results.test),
        },
        "variants": results.variants,
        "seconds": _seconds(results),
    }


def training_seconds(curve: Curve) -> float | None:
    """Seconds of a training: `seconds` of its last row are counted from the start, through interruptions."""
    return next((value for row in reversed(curve) if (value := row.get("seconds")) is not None), None)


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
