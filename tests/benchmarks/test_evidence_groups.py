"""Patients and clots in groups, and the picture: known answers over one seed and two."""

import pytest

from benchmarks.evidence import groups
from benchmarks.evidence.figure import draw_evidence
from benchmarks.evidence.scoring import store_results
from tests.benchmarks.conftest import finish, make_plan


def patient(score, decision="1", dice="0.6", ml="1.0"):
    return {"score": score, "decision": decision, "dice": dice, "reference_ml": ml}


def test_a_third_is_ranked_against_all_normals_and_averaged_over_seeds():
    """By volume the third ones are 0.9 (found, Dice 0.6) and 0.2 (missed, no mark): AUC 1 and 1/2 of two normals."""
    smaller: list[groups.Row] = [patient("0.0", ml="0.2"), patient("0.0", ml="0.5")]
    seeds: list[groups.Patients] = [
        ([patient("0.9"), *smaller], [0.5, 0.1]),
        ([*smaller, patient("0.2", decision="0", dice="")], [0.5, 0.1]),
    ]
    assert groups.third(seeds, "reference_ml", 2).tolist() == pytest.approx([0.5, 0.75, 0.3])
    assert groups.third(seeds[:1], "reference_ml", 2).tolist() == pytest.approx([1.0, 1.0, 0.6])
    assert groups.third_limits(seeds, "reference_ml") == ["0.2 to 0.2", "0.5 to 0.5", "1.0 to 1.0"]


def test_volume_of_visible_clot_stands_where_some_is_not(tmp_path):
    """Patient b has most clot and least that can be seen; in c nothing is visible, so it comes first."""
    (tmp_path / "patients.csv").write_text(
        "patient_id,split,label,decision,dice,reference_ml,noise_hu\n"
        "a,test,1,1,0.6,2.0,10\nb,test,1,0,0.1,5.0,10\nc,test,1,0,0.0,1.0,10\nd,test,0,0,,0.0,10\n"
    )
    clots = "patient_id,split,clot_id,ml,contrast_hu,confidence\na,test,1,2.0,-9,\nb,test,1,4.0,3,\nb,test,2,1.0,20,\n"
    (tmp_path / "clots.csv").write_text(clots + "c,test,1,1.0,-2,\nc,calibration,1,9.0,30,\n")
    rows = groups.pe_rows(tmp_path)
    assert {row["patient_id"]: row["visible_ml"] for row in rows} == {"a": 2.0, "b": 1.0, "c": 0.0}
    (tmp_path / "clots.csv").write_text(clots.replace("4.0,3", "4.0,12"))
    assert all("visible_ml" not in row for row in groups.pe_rows(tmp_path))


def test_the_picture_is_drawn_from_what_is_stored_and_alike_each_time(made, tmp_path):
    runs = [
        {"difficulty": "learnable", "variant": v, "seed": n} for v in ("nct_only", "cpmn", "nct_nct") for n in (0, 1)
    ]
    plan = make_plan(runs=runs)
    path = tmp_path / "images" / "evidence.png"
    finish(plan, plan.runs[0])
    store_results(plan, plan.runs[0])
    assert not draw_evidence(plan.runs, made / "results", path)
    assert not path.exists()
    drawn = []
    for run in (plan.runs[2], plan.runs[2], plan.runs[1], plan.runs[3]):
        if not (made / "results" / run.name).exists():
            finish(plan, run)
            store_results(plan, run)
        draw_evidence(plan.runs, made / "results", path)
        drawn.append(path.read_bytes())
    assert drawn[0].startswith(b"\x89PNG")
    assert drawn[0] == drawn[1]
    assert drawn[3] != drawn[0]
