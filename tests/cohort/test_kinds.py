"""Every patient is of one kind; mistakes are named."""

from pathlib import Path
from typing import Any

import pytest

from cpmn.cohort.kinds import TEACHES, Kind, is_reported, kind_lines, kind_of, outlines_ctpa, require_outlines
from cpmn.cohort.sheet import Patient
from cpmn.errors import CpmnError


def patient(name: str = "p", label: int = 1, *, ctpa: str = "", nct: str = "", **masks: str) -> Patient:
    files = {name: Path("/d") / file for name, file in ({"ctpa": ctpa, "nct": nct} | masks).items() if file}
    return Patient.model_validate({"patient_id": name, "label": label} | files)


PAIR: dict[str, Any] = {"nct": "n", "ctpa": "c"}
CASES = [
    (patient(**PAIR, ctpa_mask="m"), Kind.OUTLINED_PAIR),
    (patient(**PAIR), Kind.REPORTED_PAIR),
    (patient(label=0, **PAIR), Kind.NORMAL_PAIR),
    (patient(ctpa="c", ctpa_mask="m"), Kind.OUTLINED_CTPA),
    (patient(label=0, ctpa="c"), Kind.OUTLINED_CTPA),
    (patient(ctpa="c"), Kind.REPORTED_CTPA),
    (patient(nct="n"), Kind.NCT_ALONE),
    (patient(label=0, nct="n"), Kind.NCT_ALONE),
    (patient(nct="n", nct_mask="m"), Kind.OUTLINED_NCT),
    (patient(**PAIR, nct_mask="m"), Kind.OUTLINED_NCT),
    (patient(**PAIR, nct_mask="m", ctpa_mask="m"), Kind.OUTLINED_NCT),
]


@pytest.mark.parametrize(("one", "kind"), CASES)
def test_kind_of_a_row(one, kind):
    assert kind_of(one) is kind


def test_every_kind_has_a_case_and_says_what_it_teaches():
    assert {kind for _, kind in CASES} == set(Kind) == set(TEACHES)


def test_an_empty_mask_of_a_normal_changes_nothing():
    assert kind_of(patient(label=0, **PAIR, ctpa_mask="m")) is Kind.NORMAL_PAIR


def test_who_is_reported_and_whose_ctpa_teaches():
    reported = [is_reported(one) for one, _ in CASES]
    assert reported == [
        kind in (Kind.REPORTED_PAIR, Kind.REPORTED_CTPA) or (one.label == 1 and kind is Kind.NCT_ALONE)
        for one, kind in CASES
    ]
    assert [outlines_ctpa(one) for one, _ in CASES].count(True) == 5


def test_counts_are_said_by_kind():
    lines = kind_lines([one for one, _ in CASES])
    assert len(lines) == len(Kind)
    assert lines[0].startswith("outlined pair: 1, teaching ")
    assert any(line.startswith("NCT alone: 2, ") for line in lines)


def lines_of(*patients: Patient, **options: Any) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in kind_lines(patients, **options))


def test_lines_say_who_is_refused_and_who_takes_no_part():
    pairs = [patient("a", **PAIR, ctpa_mask="m"), patient("b", **PAIR), patient("c", **PAIR)]
    found = lines_of(*pairs, patient(nct="n"), refuse=True, idle={"c"})
    assert found["pair with a report"] == (
        "2 (1 of them test, calibrate or take no part), refused, since train.unannotated is refuse"
    )
    assert found["NCT alone"].endswith("; with PE refused, since train.unannotated is refuse")
    assert "refuse" not in found["outlined pair"]


@pytest.mark.parametrize("idle", [(), ("a",)], ids=["nobody with a CTPA", "who tests"])
def test_lines_do_not_promise_annotate_where_nobody_teaches_it(idle):
    """An outlined NCT teaches no reader of CTPAs, and neither does who tests."""
    outlined = patient("a", **PAIR, ctpa_mask="m") if idle else patient("a", **PAIR, nct_mask="m")
    found = lines_of(outlined, patient("b", **PAIR), idle=idle)
    assert found["pair with a report"].endswith("no CTPA teaches `annotate`")
    assert (
        "by what `annotate` outlines"
        in lines_of(patient("a", **PAIR, ctpa_mask="m"), patient("b", **PAIR))["pair with a report"]
    )


@pytest.mark.parametrize(("one", "kind"), CASES)
def test_lines_promise_no_ctpa_pathway_where_none_is_trained(one, kind):
    teacher = patient("t", **PAIR, ctpa_mask="m")
    found = lines_of(teacher, one, ctpa_pathway=False)[str(kind)]
    assert "both pathways" not in found
    assert "the CTPA pathway" not in found
    if kind is Kind.REPORTED_CTPA:
        assert found == "1, teaching nothing, since no variant trains a CTPA pathway; never scored"


def test_reported_pairs_teach_one_pathway_their_label_alone_where_nobody_teaches_annotate():
    found = lines_of(patient(**PAIR), ctpa_pathway=False)["pair with a report"]
    assert found == "1, teaching the NCT pathway, by the label alone; no CTPA teaches `annotate`"


def test_a_mask_without_its_scan_outlines_nobody():
    astray = [patient("a", ctpa="c", nct_mask="m"), patient("b", nct="n", ctpa_mask="m")]
    assert [is_reported(one) for one in astray] == [True, True]
    with pytest.raises(CpmnError, match=r"no patient with PE who trains has an outline \(a, b\)"):
        require_outlines(astray)


def test_a_cohort_without_any_outline_is_told_what_to_do():
    some = [patient(f"p{n}", **PAIR) for n in range(8)]
    with pytest.raises(
        CpmnError, match=r"no patient with PE who trains has an outline \(p0, p1, p2, p3, p4 and 3 more\).*cpmn join"
    ):
        require_outlines([*some, patient("n", 0, **PAIR)])
    require_outlines([*some, patient("f", ctpa="c", ctpa_mask="m")])
    require_outlines([patient("n", 0, **PAIR)])


def test_simulated_emboli_need_an_nct_without_pe():
    pair = patient("p", **PAIR)
    require_outlines([pair, patient("n", 0, nct="n")], simulated=True)
    for others in ([patient("n", 0, nct="n")], [patient("n", 0, ctpa="c")]):
        with pytest.raises(CpmnError, match=r"Or learn from simulated emboli.*train\.sampling\.simulated_fraction"):
            require_outlines([pair, *others], simulated=others[0].nct is None)
