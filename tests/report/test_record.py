"""run.json and the model card."""

import pandas as pd
import pytest

from cpmn.files import read_json
from cpmn.report.record import training_seconds


def test_record_of_a_run(finished):
    record = read_json(finished.output / "run.json")
    assert {"cpmn", "python", "torch", "monai", "antspyx", "SimpleITK", "snakemake"} <= record["versions"].keys()
    assert record["patients"] == {"cohort": 12, "excluded": 1, "test": 4}
    assert (record["data_hash"], record["commit"]) == ("abc123", "f00dbabe")
    assert record["seeds"]["train"] == {"cpmn": 0, "nct_only": 0}
    assert record["seeds"]["phantom"] == 7
    # What trained, wherever the report is written; plans of earlier versions do not say it.
    assert record["parameters"] == {"cpmn": 777524, "nct_only": None}
    assert record["device"] == {"cpmn": "NVIDIA H100", "nct_only": None}
    assert len(record["registered"]) == 11
    assert record["seconds"]["register"] == {"total": 11 * 20.5, "median": 20.5}
    assert record["seconds"]["train"]["cpmn"] == {"fold-0": 92.0}


def test_no_phantom_seed_for_a_real_cohort(run):
    run.flags["synthetic"] = False
    run.write()
    assert "phantom" not in read_json(run.output / "run.json")["seeds"]


@pytest.mark.parametrize(("seconds", "total"), [([10.0, 20.0, 31.0], 31.0), ([10.0, None, 25.0], 25.0), ([], None)])
def test_training_seconds(seconds, total):
    assert training_seconds(pd.DataFrame({"seconds": seconds}, dtype=float)) == total


def test_model_card_has_its_parts(finished):
    card = (finished.output / "model_card.md").read_text(encoding="utf-8")
    parts = ("Intended use", "Out of scope", "Data", "Training", "Evaluation", "Limits", "Ethical", "Citation")
    assert all(f"## {part}" in card for part in parts)
    assert "| Patient level: AUC | 0.75 (0.30 to 1.00, n = 4) | 0.75 (0.30 to 1.00, n = 4) |" in card
    assert "not defined (n = 0)" in card
    assert "`nct_only` never sees a CTPA and is the baseline." in card
    assert "arXiv 2407.11529" in card
    assert "what the abstract does not state is our choice" in card
    assert "Excluded: p05, at register" in card


def test_a_model_card_without_a_baseline_names_none(run):
    run.variants = {"cpmn": {"base": "cpmn", "seed": 0}}
    run.write()
    assert "is the baseline" not in (run.output / "model_card.md").read_text(encoding="utf-8")


def test_model_card_is_text_not_markup(run):
    run.flags["cohort"] = '<img src=x>\n# not a heading & "quoted"'
    run.write()
    card = (run.output / "model_card.md").read_text(encoding="utf-8")
    assert '“&lt;img src=x> # not a heading &amp; "quoted"”' in card
