"""Counts of patients, decisions and scans."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from cpmn.evaluate.origin import training_facts
from cpmn.files import read_json, write_json
from cpmn.report.collect import Results, collect
from cpmn.report.tables import (
    Count,
    cohort_rows,
    confusion,
    decision,
    indeterminate_rows,
    lesion_rows,
    patient_flow,
    reference_kinds,
    registration_rows,
    thickness_rows,
)


def results_of(run) -> Results:
    return collect(run.results, run.patients, run.variants)


def test_flow_adds_up(run):
    flow = patient_flow(results_of(run))
    assert flow.everyone == Count("Cohort", 12, 6, 6)
    assert [item.patient for item in flow.excluded] == ["p05"]
    assert flow.analysed == Count("Analysed", 11, 5, 6)
    assert [item.patient for item in flow.kept_out] == ["p07"]
    train = Count("train", 5, 2, 3, kept_out=Count("kept out", 1, 1, 0))
    assert flow.parts == [train, Count("validation", 2, 1, 1), Count("test", 4, 2, 2)]
    assert sum(part.total for part in flow.parts) == flow.analysed.total


def test_patients_whom_nobody_uses_are_a_part_so_that_the_parts_add_up(run):
    path = run.results / "train" / "splits.json"
    splits = read_json(path)
    run.patients[0] = run.patients[0].model_copy(update={"nct": None})
    write_json(path, splits | {"test": splits["test"][1:], "unused": ["p01"]})
    flow = patient_flow(results_of(run))
    assert flow.parts[-1] == Count("unused", 1, 1, 0)
    assert sum(part.total for part in flow.parts) == flow.analysed.total


def test_test_patient_that_failed_quality_control_stays(run):
    path = run.results / "register" / "p01" / "quality.json"
    write_json(path, read_json(path) | {"passed": False, "reason": "folded"})
    results = results_of(run)
    assert [item.patient for item in patient_flow(results).kept_out] == ["p07"]
    assert [patient.patient_id for patient in results.test] == run.test


def test_who_is_not_kept_out_of_training_is_who_the_model_was_trained_on(run):
    """The registration of p07 failed, and all of p09's clots lie outside of the crop."""
    path = run.results / "crop" / "p09" / "crop.json"
    write_json(path, read_json(path) | {"embolus_ml_outside": 2.0})
    (run.results / "train/cpmn/fold-0/model.safetensors").touch()
    flow = patient_flow(results_of(run))
    splits = read_json(run.results / "train" / "splits.json")
    facts = training_facts(run.results, "cpmn", splits, run.patients, {"p05": "no lungs"}, {})
    train, reasons = flow.parts[0], {item.patient: item.reason for item in flow.kept_out}
    assert train.kept_out == Count("kept out", 2, 2, 0)
    assert (facts.n_pe, facts.n_normal) == (train.pe - 2, train.normal) == (0, 3)
    assert reasons == {
        "p07": "registration failed: lung Dice 0.41 is below 0.8",
        "p09": "all of its clots lie outside of the crop",
    }


def test_validation_patient_that_failed_quality_control_is_not_kept_out_of_what_it_never_entered(run):
    path = run.results / "register" / "p11" / "quality.json"
    write_json(path, read_json(path) | {"passed": False, "reason": "folded"})
    flow = patient_flow(results_of(run))
    assert [item.patient for item in flow.kept_out] == ["p07"]
    assert [(item.patient, item.reason) for item in flow.unwatched] == [("p11", "registration failed: folded")]
    assert flow.parts[1] == Count("validation", 2, 1, 1)


def test_confusion_counts_every_test_patient_once(run):
    results = results_of(run)
    counts = confusion(results.scored["cpmn"], results.test)
    assert (counts.true_positive, counts.false_negative, counts.false_positive, counts.true_negative) == (1, 1, 1, 1)
    missing = confusion(results.scored["cpmn"].iloc[:0], results.test)
    assert missing.undecided == 4


def test_indeterminate_patients_are_counted_by_label_and_reason(run):
    """p02 has two reasons and is one patient; validation patients are not counted."""
    row = indeterminate_rows(results_of(run))[0]
    assert row == {
        "variant": "cpmn",
        "pe": "2 of 2",
        "normal": "1 of 2",
        "reasons": "lungs cut by the scan: 1; noise outside of what training saw: 2; "
        "no PE by the score, beside more marks than such patients had: 1",
    }


def test_a_run_of_an_earlier_version_says_nothing_of_indeterminate(run):
    results = results_of(run)
    del results.scored["cpmn"]["indeterminate"]
    assert [row["variant"] for row in indeterminate_rows(results)] == ["nct_only"]


def test_decision_reads_what_tables_write():
    assert decision({"decision": 1.0}) is True
    assert decision({"decision": 0}) is False
    assert decision({"decision": math.nan}) is None
    assert decision({}) is None


def test_lesions_of_test_patients_alone(run):
    row = {"variant": "cpmn", "scans": 4, "lesions": 2, "lesions_found": 1, "false_positives": 1}
    assert lesion_rows(results_of(run))[0] == row


def test_warnings_repairs_and_shared_scans_stand_in_the_patients_row(run):
    changes = {
        "p01/nct": {"warnings": ["contrast is present"], "repaired": ["tilt"]},
        "p02/ctpa": {"source_sha256": "p03-nct"},
    }
    for name, change in changes.items():
        path = run.results / "convert" / f"{name}.json"
        write_json(path, read_json(path) | change)
    rows = {row["patient"]: row for row in cohort_rows(results_of(run))}
    assert rows["p01"]["nct_remarks"] == "contrast is present; tilt"
    assert rows["p02"]["ctpa_remarks"] == rows["p03"]["nct_remarks"] == "the same files are the scan of p02, p03"
    assert rows["p01"]["ctpa_remarks"] == rows["p02"]["nct_remarks"] == ""


def test_reference_kinds_in_words(run):
    results = results_of(run)
    assert reference_kinds(results) == {"CTPA label propagated by registration": 4}
    for table in results.scored.values():
        table.loc[table.index[0], "reference"] = math.nan  # nobody outlined it: its label counts
        table.loc[table.index[1], ["reference", "score"]] = math.nan
    assert reference_kinds(results) == {
        "none: the patient's label alone": 1,
        "not stated": 1,
        "CTPA label propagated by registration": 2,
    }


def test_thickness_bins_take_in_their_upper_edge(run):
    for name, spacing in (("p01", 1.5), ("p02", 3.0), ("p03", 3.01), ("p04", 8.0)):
        path = run.results / "convert" / name / "nct.json"
        write_json(path, read_json(path) | {"spacing_mm": [1, 1, spacing]})
    rows = thickness_rows(results_of(run))
    assert [row["nct"] for row in rows] == [1, 1, 9, 1]
    assert [row["bin"] for row in rows] == ["≤ 1.5 mm", "> 1.5 to 3 mm", "> 3 to 5 mm", "> 5 mm"]


def test_cohort_row(run):
    first = cohort_rows(results_of(run))[0]
    assert first["nct_spacing"] == "3 × 3 × 4"
    assert first["nct_scanner"] == "ACME Phantom 1"
    assert (first["nct_contrast"], first["ctpa_contrast"]) == ("absent", "present")
    assert (first["part"], first["label"]) == ("test", "PE")


@pytest.mark.parametrize(
    ("source", "said"), [("annotate", "annotate"), ("label", "the label alone"), ("ctpa_mask", "ctpa_mask")]
)
def test_who_outlined_the_clots_stands_in_the_patients_row(run, source, said):
    write_json(run.results / "propagate/p01/status.json", {"passed": True, "source": source})
    rows = cohort_rows(results_of(run))
    assert rows[0]["clots_by"] == said
    assert {row["clots_by"] for row in rows if row["label"] == "no PE"} == {"–"}


def test_who_has_a_ctpa_alone_is_outlined_there_or_not(run):
    pe = next(patient for patient in run.patients if patient.label)
    alone = pe.model_copy(update={"nct": None, "ctpa_mask": None})
    results = replace(results_of(run), patients=[alone, alone.model_copy(update={"ctpa_mask": Path("m")})])
    assert [row["clots_by"] for row in cohort_rows(results)] == ["the label alone", "ctpa_mask"]


def test_cohort_row_of_an_image_file(run):
    path = run.results / "convert" / "p01" / "nct.json"
    write_json(path, {"scanner": None, "kernel": None, "contrast": {"evidence": "unknown"}, "spacing_mm": [1, 1, 1]})
    first = cohort_rows(results_of(run))[0]
    assert (first["nct_scanner"], first["nct_contrast"]) == ("–", "unknown")


def test_failed_registrations_come_first(run):
    path = run.results / "register" / "p09" / "quality.json"
    write_json(path, read_json(path) | {"lung_dice": 0.85})
    rows = registration_rows(results_of(run))
    assert [row["patient"] for row in rows[:3]] == ["p07", "p09", "p01"]
    assert len(rows) == 11


def test_scans_that_were_not_scored_are_not_counted(run):
    results = results_of(run)
    results.scored["cpmn"].loc[results.test[0].patient_id, ["lesions", "lesions_found", "false_positives"]] = math.nan
    assert lesion_rows(results)[0]["scans"] == 3
