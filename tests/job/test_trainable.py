"""What a cohort teaches depends on the variants of the run."""

from pathlib import Path

import pytest

from cpmn.cohort.sheet import Patient
from cpmn.config.root import load_config
from cpmn.job.trainable import lessons

REPORTED = Patient.model_validate({"patient_id": "r", "ctpa": Path("/d/c"), "label": 1})


@pytest.mark.parametrize(
    ("variants", "taught"),
    [
        (["nct_only"], False),
        (["nct_nct", "ctpa_pretrained", "nct_only_long"], False),
        (["nct_only", "cpmn"], True),
        (["shuffled_ctpa"], True),
    ],
)
def test_a_ctpa_with_a_report_teaches_where_a_variant_trains_its_pathway(variants, taught):
    """`nct_nct` feeds the NCT to both, and `ctpa_pretrained` has one pathway, which reads CTPAs of pairs first."""
    (line,) = lessons([REPORTED], load_config({"train": {"variants": variants}}), set())
    assert ("the CTPA pathway's classification" in line) is taught
    assert ("nothing, since no variant trains a CTPA pathway" in line) is not taught


def test_lessons_say_who_is_refused():
    (line,) = lessons([REPORTED], load_config({"train": {"unannotated": "refuse"}}), set())
    assert line == "CTPA alone with a report: 1, refused, since train.unannotated is refuse"
