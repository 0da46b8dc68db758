"""The result part of `docs/benchmark.md`, from the stored results alone."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.evidence.comparison import PRIMARY, comparison_lines
from benchmarks.evidence.groups import clot_lines, patient_lines
from benchmarks.evidence.losses import loss_lines
from benchmarks.evidence.markdown import NOT_RUN, estimate, share, table
from benchmarks.evidence.plan import RESULTS, Plan, Role, Run
from benchmarks.evidence.trials import compared_lines, trial_lines
from cpmn.files import read_json, read_table, write_text

BEGIN = "<!-- Written by `python -m benchmarks evidence table`; what stands below is replaced. -->"
COHORTS: dict[Role, str] = {
    "test": "locked test cohort",
    "opened": "first locked cohort, since opened: choices for the next one have been made on it",
}
SHARE_OF_OBSERVER = 0.9  # of what the reference observer's AUC exceeds chance by
COST_FILE = "cost.csv"
LABELS_FILE = "labels.csv"
GAP_FILE = "gap.csv"
BLOOD_FILE, MEASURED_FILE = "blood.csv", "blood_measured.csv"
OBSERVER_FILE = "observer.csv"
STORED_TABLES = (  # file, heading, what stands in it
    (
        LABELS_FILE,
        "Noise of the labels",
        "Carried labels of the training cohorts' PE patients against the truth, on native voxels "
        "(`python -m benchmarks evidence labels`): what `nct_only` and `cpmn` learn from. *Ranked*: share of pairs of "
        "a visible (15 HU or more) and an isodense clot (below 8) whose contrast, measured under the carried label, is "
        "in the right order: by the median over soft tissue, which weighs labels, and by the mean, which did before.",
    ),
    (
        GAP_FILE,
        "Training patients read by their own network",
        "By networks that the plan names (`python -m benchmarks evidence gap`), against the labels that they learnt "
        "from; AUC by the score fitted on other patients. Where training patients are read no better than new ones, "
        "it is steps or weights that lack, not patients.",
    ),
    (
        BLOOD_FILE,
        "Scores and the patient's blood",
        "Spearman's rank correlation of the patient score with the blood's HU in patients without PE, 95 % bootstrap "
        "interval (`python -m benchmarks evidence blood`): near 0 where a network compares a clot with the patient's "
        "own blood, near 1 where it takes bright blood for clot.",
    ),
    (
        MEASURED_FILE,
        "Blood measured in the NCT",
        "What `train.blood_window` centres on (`cpmn.anatomy.blood`), minus the HU that the phantom drew "
        "(same command). *AUC of blood*: of the drawn HU between PE patients and others, "
        "which is 0.5 but for a cohort's luck.",
    ),
    (
        COST_FILE,
        "Cost of a step",
        "Processor seconds on one thread, variants in turns (`python -m benchmarks evidence cost`).",
    ),
)


def write_document(plan: Plan, document: Path, results: Path = RESULTS) -> None:
    """Replace what follows the marker in the document. Raises ValueError if it has no marker."""
    text = document.read_text(encoding="utf-8")
    if BEGIN not in text:
        raise ValueError(f"{document} lacks the line {BEGIN}")
    write_text(document, text.split(BEGIN)[0] + BEGIN + "\n\n" + "\n".join(lines(plan, results)) + "\n")


def lines(plan: Plan, results: Path = RESULTS) -> Iterator[str]:
    """Markdown lines of the result part."""
    stored = {run.name: read_json(path) for run in plan.runs if (path := results / run.name / "run.json").is_file()}
    finals = [run for run in plan.runs if not run.trial]
    for difficulty, role in dict.fromkeys((run.difficulty, run.judged) for run in finals):
        own = [run for run in finals if (run.difficulty, run.judged) == (difficulty, role)]
        yield from _test_table(own, stored, results.parent / OBSERVER_FILE)
        ready = [run for run in own if run.name in stored]
        yield from comparison_lines(ready, own, results)
        yield from patient_lines(ready, results)
        limits = _observer(difficulty, "clots found", results.parent / OBSERVER_FILE)
        yield from clot_lines(ready, results, limits)
    yield from trial_lines([run for run in plan.runs if run.trial], stored)
    yield from compared_lines(plan, results)
    yield from loss_lines(finals, stored, results)
    for file, heading, text in STORED_TABLES:
        yield from _stored_table(results / file, heading, text)


def _limit(difficulty: str, path: Path) -> float | None:
    """The reference observer's AUC, if it was measured."""
    return _observer(difficulty, "auc", path).get("all")


def _goal(difficulty: str, limit: float | None) -> str:
    """What the runs of a difficulty are held against."""
    sentences = []
    if limit is not None:
        sentences = [
            f"The reference observer reaches AUC {limit:.3f} (other patients, the demo's coarser voxels); *of the",
            f"observer* is what a run's AUC exceeds 0.5 by, over {limit - 0.5:.3f}.",
        ]
    if difficulty == "learnable":
        sentences.append("Goals: at least 62/65 found, at least 249/250 cleared, Dice 0.785.")
    if difficulty == PRIMARY and limit is not None:
        sentences.append(f"Goal: {SHARE_OF_OBSERVER:.0%}, AUC {0.5 + SHARE_OF_OBSERVER * (limit - 0.5):.3f}.")
    return " ".join(sentences)


def _test_table(runs: Sequence[Run], stored: Mapping[str, Any], observer: Path) -> Iterator[str]:
    limit = _limit(runs[0].difficulty, observer)
    yield f"### `{runs[0].difficulty}`, {COHORTS[runs[0].judged]}\n"
    yield "95 % intervals: Wilson for shares, DeLong for AUC (Newcombe where DeLong's would pass 1), bootstrap over"
    yield "patients for the rest. Processor minutes are those of a training's last process: less where it was resumed."
    yield f"{_goal(runs[0].difficulty, limit)}\n"
    heads = [
        "run",
        "steps",
        "minutes",
        "processor minutes",
        "PE found",
        "normals cleared",
        "AUC",
        "of the observer",
        "Dice",
        "false mL in normals",
        "calibration PE + normals",
    ]
    yield from table(heads, [[run.name, *_test_cells(stored.get(run.name), run.judged, limit)] for run in runs])


def _test_cells(found: Mapping[str, Any] | None, role: Role, limit: float | None) -> list[str]:
    if found is None or role not in found["figures"]:
        return [NOT_RUN] + [""] * 9
    training, figures, threshold = found["training"], found["figures"][role], found["decision"]["threshold"]
    processor = training.get("processor_seconds_of_last_process")
    return [
        str(training["steps"]),
        f"{training['seconds'] / 60:.0f}",
        "" if processor is None else f"{processor / 60:.0f}",
        share(figures["patient"]["sensitivity"]),
        share(figures["patient"]["specificity"]),
        estimate(figures["patient"]["auc"]),
        "" if limit is None else f"{(figures['patient']['auc']['value'] - 0.5) / (limit - 0.5):.0%}",
        estimate(figures["voxel"]["dice"]),
        estimate(figures["voxel"]["false_positive_volume_ml"]),
        f"{threshold['n_pe']} + {threshold['n_normal']}",
    ]


def _observer(difficulty: str, metric: str, path: Path) -> dict[str, float]:
    """The reference observer's figures by group of clots, at the phantom's own noise."""
    wanted = {"difficulty": difficulty, "noise_factor": "1.0", "observer": "reference", "metric": metric}
    rows = read_table(path) if path.is_file() else []
    own = [row for row in rows if wanted.items() <= row.items() and row["value"]]
    return {row["group"]: float(row["value"]) for row in own}


def _stored_table(path: Path, title: str, text: str) -> Iterator[str]:
    """A stored CSV file, if it was measured."""
    if path.is_file():
        rows = read_table(path)
        yield f"### {title}\n"
        yield f"{text}\n"
        yield from table(list(rows[0]), [list(row.values()) for row in rows])
