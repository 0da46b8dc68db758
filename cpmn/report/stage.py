"""The stage `report`: `index.html`, `model_card.md` and `run.json` from what the stages left under `results/`."""

import hashlib
import logging
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from cpmn.cohort.kinds import is_reported, teaches_annotate
from cpmn.cohort.roles import teaching_nobody
from cpmn.cohort.sheet import Patient
from cpmn.config.root import Config
from cpmn.dicom.scanners import makers_known
from cpmn.files import remove_unfinished, write_json, write_text
from cpmn.job.trainable import lessons
from cpmn.pages import templates
from cpmn.report.card import TEMPLATES, model_card
from cpmn.report.collect import (
    Results,
    collect,
    labels,
    number,
    read_optional,
    read_optional_frame,
    scanners,
    simulated,
)
from cpmn.report.estimates import estimate_text, headline, metric_table, score_text, threshold_text
from cpmn.report.figures import learning_curve, roc_figure, score_figure
from cpmn.report.gallery import build_gallery
from cpmn.report.limits import limits
from cpmn.report.pictures import file_picture
from cpmn.report.record import run_record
from cpmn.report.tables import (
    cohort_rows,
    confusion,
    indeterminate_rows,
    lesion_rows,
    patient_flow,
    reference_kinds,
    registration_rows,
    thickness_rows,
    training_rows,
)
from cpmn.scoring.comparison import baseline_of

logger = logging.getLogger(__name__)

SECTIONS = {
    "summary": "Summary",
    "cohort": "Cohort",
    "registration": "Registration",
    "training": "Training",
    "results": "Results",
    "patients": "Test patients",
    "limits": "Limits",
    "reproducibility": "Reproducibility",
}
CURVES = {
    "train_total": "Training loss, total",
    "train_segmentation": "Segmentation",
    "train_classification": "Classification",
    "train_taught": "Taught by the CTPA pathway, without an outline",
    "train_mutual": "Mutual learning",
    "train_alignment": "Inter-Feature Alignment",
    "train_affinity": "Inter-Feature Alignment, affinity",
    "train_discrepancy": "Intra-Feature Discrepancy",
    "train_segmentation_ctpa": "Segmentation, CTPA",
    "train_classification_ctpa": "Classification, CTPA",
    "train_discrepancy_ctpa": "Intra-Feature Discrepancy, CTPA",
    "validation_loss": "Validation loss",
    "validation_dice": "Validation Dice",
    "validation_auc": "Validation AUC",
    "validation_found": "Validation, share of clots found",
    "validation_loss_ctpa": "Validation loss, CTPA",
    "validation_dice_ctpa": "Validation Dice, CTPA",
    "validation_auc_ctpa": "Validation AUC, CTPA",
    "validation_found_ctpa": "Validation, share of clots found, CTPA",
    "learning_rate": "Learning rate",
}

ANNOTATE = {
    "dice": "Dice on the CTPA, mean over patients with PE",
    "clots_found": "Share of clots found",
    "false_ml": "mL marked in a patient without PE",
    "auc": "AUC of the highest probability",
}
"""Figures of `annotate` in words."""


def write_report(
    *,
    results: Path,
    patients: list[Patient],
    config: Config,
    variants: dict[str, dict[str, Any]],
    output: Path,
    flags: dict[str, Any],
) -> None:
    """Write the report of a run into the folder `output`.

    Parameters
    ----------
    results : folder with what the stages wrote; whatever is optional there may be absent.
    variants : `{name: {"base": ..., "seed": ...}}` in the order in which they are shown.
    flags : `synthetic` (bool; the scans' own headers may say so too, and where one says nothing it is not known),
        `data_hash`, `commit`, `cohort` and `difficulty` (text, may be empty or absent).

    Raises CpmnError naming the file for a result that is there but cannot be read.
    """
    remove_unfinished(output)
    found = collect(results, patients, variants)
    facts = {key: flags.get(key) for key in ("synthetic", "data_hash", "commit", "cohort", "difficulty")}
    facts["simulated"] = simulated(found) or ("all" if facts["synthetic"] else "")
    facts["synthetic"] = bool(facts["simulated"]) if facts["simulated"] or makers_known(scanners(found)) else None
    context = _context(found, config, facts)
    page = templates(TEMPLATES, escape=True).get_template("page.html.j2").render(context)
    write_text(output / "index.html", page)
    write_text(output / "model_card.md", model_card(context))
    write_json(output / "run.json", context["record"])
    logger.info("report: %s (%.1f MB)", output / "index.html", len(page) / 1e6)


def _context(found: Results, config: Config, flags: dict[str, Any]) -> dict[str, Any]:
    """Everything that the templates use."""
    patients, annotation = cohort_rows(found), _annotation(found, config)
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    return {
        "config": config,
        "flags": flags,
        "results": found,
        "sections": list(SECTIONS.items()),
        "style": Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        "script": Markup(script),
        "script_sha256": b64encode(hashlib.sha256(script.encode()).digest()).decode(),  # the one that may run
        "record": run_record(found, config, flags) | {"annotate": bool(annotation["annotate"])},
        "flow": patient_flow(found),
        "kinds": lessons(found.patients, config, teaching_nobody(found.splits)),
        **annotation,
        "reference_kinds": reference_kinds(found),
        "baseline": baseline_of(found.variants),
        "cohort_rows": patients,
        "any_remarks": any(row["nct_remarks"] or row["ctpa_remarks"] for row in patients),
        "thickness_rows": thickness_rows(found),
        "limits": limits(found, config, flags),
        **_registration(found, config),
        **_training(found),
        **_performance(found),
        "gallery": build_gallery(found, config.report),
    }


def _annotation(found: Results, config: Config) -> dict[str, Any]:
    """How well `annotate` outlines, and whom to look at first; nothing where this run let nobody be outlined."""
    folder = found.root / "annotate"
    asked = config.train.unannotated == "use" and any(is_reported(p) and p.ctpa and p.nct for p in found.patients)
    taught = teaches_annotate(found.patients, teaching_nobody(found.splits))
    measured = read_optional(folder / "metrics.json") if asked and taught else {}
    return {
        "annotate": measured,
        "annotate_figures": [(words, estimate_text(measured.get(name))) for name, words in ANNOTATE.items()],
        "worklist": read_optional_frame(folder / "worklist.csv").to_dict("records") if asked and taught else [],
    }


def _registration(found: Results, config: Config) -> dict[str, Any]:
    rows = registration_rows(found)
    shown = rows[: config.report.maximum_patients]
    pictures = [
        {"patient": row["patient"], "uri": uri}
        for row in shown
        if (uri := file_picture(found.root / "register" / row["patient"] / "quality.png"))
    ]
    return {"registration_rows": rows, "registration_pictures": pictures}


def _training(found: Results) -> dict[str, Any]:
    history = {variant: found.history.get(variant, {}) for variant in found.variants}
    titles = CURVES | _own_terms(history)
    drawings = {
        column: learning_curve(history, column, f"{title} over training steps, one line per variant and fold")
        for column, title in titles.items()
    }
    return {
        "curves": [{"title": titles[column], "svg": svg} for column, svg in drawings.items() if svg],
        "several_folds": any(len(folds) > 1 for folds in history.values()),
        "training_rows": training_rows(found),
        "ctpa_rows": [
            {"variant": name} | ctpa for name in found.variants if (ctpa := (found.metrics.get(name) or {}).get("ctpa"))
        ],
    }


def _own_terms(history: Mapping[str, Mapping[str, pd.DataFrame]]) -> dict[str, str]:
    """Columns and titles of loss terms that users added (docs/how-to/loss.md)."""
    columns = {column for folds in history.values() for curve in folds.values() for column in curve.columns}
    own = sorted(column for column in columns - set(CURVES) if column.startswith("train_"))
    return {column: column.removeprefix("train_").replace("_", " ").capitalize() for column in own}


def _performance(found: Results) -> dict[str, Any]:
    metrics = {variant: values for variant, values in found.metrics.items() if values}
    patient = {variant: values.get("patient") or {} for variant, values in metrics.items()}
    colours = {variant: index for index, variant in enumerate(found.variants)}
    roc_rows = [
        {"variant": variant, "colour": colours[variant] % 8, "auc": estimate_text(patient.get(variant, {}).get("auc"))}
        for variant in found.roc
    ]
    return {
        "headlines": [headline(variant, values) for variant, values in metrics.items()],
        "thresholds": {
            variant: f"{threshold_text(values)} {score_text(values)}".strip() for variant, values in metrics.items()
        },
        "table": metric_table(metrics, found.comparison),
        "roc": roc_figure(found.roc, list(found.variants), _decision_points(patient)) if found.roc else None,
        "roc_rows": roc_rows,
        "scores": _scores(found, colours),
        "confusions": [
            {"variant": variant, "counts": confusion(rows, found.test)} for variant, rows in found.scored.items()
        ],
        "indeterminate_rows": indeterminate_rows(found),
        "lesion_rows": lesion_rows(found),
        "test_counts": {
            "pe": sum(patient.label for patient in found.test),
            "normal": sum(1 - patient.label for patient in found.test),
        },
    }


def _decision_points(patient: dict[str, dict[str, Any]]) -> dict[str, tuple[float, float]]:
    points = {}
    for variant, values in patient.items():
        sensitivity, specificity = (
            number((values.get(key) or {}).get("value")) for key in ("sensitivity", "specificity")
        )
        if sensitivity is not None and specificity is not None:
            points[variant] = (1 - specificity, sensitivity)
    return points


def _scores(found: Results, colours: dict[str, int]) -> list[dict[str, Any]]:
    label = labels(found.test)
    drawn = []
    for variant, scored in found.scored.items():
        scores = scored["score"].reindex(label.index).dropna()
        if len(scores):
            pe = label[scores.index] == 1
            threshold = number((found.metrics[variant].get("threshold") or {}).get("value"))
            drawing = score_figure(scores[pe].tolist(), scores[~pe].tolist(), threshold, colours[variant])
            drawn.append({"variant": variant, "svg": drawing})
    return drawn
