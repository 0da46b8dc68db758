"""The alias `champion` of a cohort's registered model: it moves only to a variant that is better beyond chance.

`snakemake promote` compares every variant of the run with the present champion on the same test patients, by the
paired bootstrap of `comparison.csv`. The alias moves where the lower bound of the difference is above 0. An empty place
goes to the baseline, which every other variant then has to beat: our choice, so that no variant gets there by being the
luckiest of many. Bounds are not corrected for the number of variants compared.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cpmn.config.evaluate import EvaluateConfig
from cpmn.errors import CpmnError
from cpmn.files import read_json, read_test_rows, write_json
from cpmn.scoring.comparison import baseline_of, difference, paired_rows
from cpmn.scoring.metrics import Estimate
from cpmn.track.registry import content_of, model_name, versions
from cpmn.track.server import connect
from cpmn.track.sync import sync_results

ALIAS = "champion"


def promote(results: Path, output: Path, *, metric: str, config: EvaluateConfig) -> dict[str, Any]:
    """Move the alias if a variant of this run has earned it; write and return the reason as `output` holds it.

    Parameters
    ----------
    metric : `patient.auc` or `voxel.dice`; more is better.
    config : number of bootstrap samples, level and seed.

    Raises CpmnError where MLflow is out of reach: here, the record is the work.
    """
    try:
        sync_results(results)
        record = _promote(read_json(results / "track.json"), results, metric, config)
    except CpmnError:
        raise
    except Exception as error:
        raise CpmnError(
            f"MLflow did not do its part ({error}). The champion stays. "
            "Check that the server runs and say `snakemake promote` again."
        ) from error
    write_json(output, record)
    return record


def _promote(track: Mapping[str, Any], results: Path, metric: str, config: EvaluateConfig) -> dict[str, Any]:
    client, name = connect(track["uri"]), model_name(track)
    made = versions(client, name)
    candidates = {variant: made[content_of(results, variant)] for variant in track["variants"]}
    before = _champion(client, name)
    holder = before or candidates[_baseline(track)]
    rivals = {variant: one for variant, one in candidates.items() if one.version != holder.version}
    if holder.tags.get("data_hash") == track["data_hash"]:
        found = _compare(holder, candidates, rivals, results, metric, config, track["uri"])
        winner, reason = _verdict(holder, found, metric)
    else:
        found, winner = {}, None
        reason = f"the champion, version {holder.version}, was evaluated on other data: there is nothing to compare"
    after = rivals[winner] if winner else holder
    moved = before is None or after.version != before.version
    if moved:
        client.set_registered_model_alias(name, ALIAS, after.version)
    return {
        "model": name,
        "metric": metric,
        "moved": moved,
        "reason": reason if before else f"the place was empty and went to {_title(holder)}; {reason}",
        "before": _facts(before) if before else None,
        "after": _facts(after),
        "comparisons": [{**_facts(rivals[variant]), "difference": figure} for variant, figure in found.items()],
    }


def _champion(client: Any, name: str) -> Any:
    """The present champion's version, None if there is none."""
    version = client.get_registered_model(name).aliases.get(ALIAS)
    return client.get_model_version(name, str(version)) if version else None


def _baseline(track: Mapping[str, Any]) -> str:
    """The run's first variant with base `nct_only`, else its first."""
    variants = track["variants"]
    return baseline_of(variants) or next(iter(variants))


def _compare(
    holder: Any,
    candidates: Mapping[str, Any],
    rivals: Mapping[str, Any],
    results: Path,
    metric: str,
    config: EvaluateConfig,
    uri: str,
) -> dict[str, Estimate]:
    """Difference of each rival from the holder, which may be of an earlier run."""
    tables = {variant: read_test_rows(results / "evaluate" / variant / "patients.csv") for variant in candidates}
    own = next((variant for variant, one in candidates.items() if one.version == holder.version), None)
    theirs = tables[own] if own else _recorded_test(holder, uri)
    pairs = {variant: paired_rows(tables[variant], theirs) for variant in rivals}
    return {variant: difference(metric, _of_one_reference(*pair), config)[0] for variant, pair in pairs.items()}


def _of_one_reference(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of patients who were scored against the same voxels, by kind and volume: other settings carry labels
    otherwise, and Dice then differs without another model."""
    columns = ["reference", "reference_ml"]
    if not set(columns) <= set(first) & set(second):
        return first, second
    volumes = np.isclose(first["reference_ml"], second["reference_ml"], equal_nan=True)
    same = volumes & (first["reference"].fillna("") == second["reference"].fillna("")).to_numpy()
    return first.loc[same], second.loc[same]


def _verdict(holder: Any, found: Mapping[str, Estimate], metric: str) -> tuple[str | None, str]:
    """The variant that takes the place, if any, and why: the greatest lower bound decides among several."""
    bounds = {variant: figure["low"] for variant, figure in found.items() if figure["low"] is not None}
    best = max(bounds, key=lambda variant: bounds[variant], default=None)
    if best is None:
        return None, f"{_title(holder)} stays: there is no other variant with an interval of {metric} to compare"
    figure = found[best]
    interval = f"{metric} {figure['value']:+.3f} ({figure['low']:+.3f} to {figure['high']:+.3f}, n = {figure['n']})"
    if bounds[best] > 0:
        return best, f"{best} is better than {_title(holder)}: {interval}"
    says = "and is worse" if (figure["high"] or 0) < 0 else "which includes 0"
    return None, f"{_title(holder)} stays: the best of the others, {best}, differs by {interval}, {says}"


def _recorded_test(holder: Any, uri: str) -> pd.DataFrame:
    """Test rows of an earlier run's variant, from its files in MLflow."""
    from mlflow.artifacts import download_artifacts

    with tempfile.TemporaryDirectory() as folder:
        path = download_artifacts(run_id=holder.run_id, artifact_path="patients.csv", dst_path=folder, tracking_uri=uri)
        return read_test_rows(Path(path))


def _title(version: Any) -> str:
    return f"{version.tags.get('variant', '?')} (version {version.version})"


def _facts(version: Any) -> dict[str, Any]:
    return {"variant": version.tags.get("variant"), "version": str(version.version), "run_id": version.run_id}
