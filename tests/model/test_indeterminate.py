"""Reasons not to decide, one by one, and in a whole reading."""

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.files import read_json
from cpmn.model.indeterminate import KINDS, reasons
from cpmn.model.plan import Plan
from cpmn.predict.stage import predict_series
from cpmn.scoring.decision import Marks
from cpmn.volume.images import write_image
from tests.predict.conftest import TRAINED_ON, chest, chest_series, decision, write_decision
from tests.predict.conftest import bright_spot as bright_spot  # fixtures, as are those that follow
from tests.predict.conftest import results as results
from tests.predict.conftest import write_series as write_series

FACTS = {"contrast": {"evidence": "absent", "from": "image"}, "scanner": {"manufacturer": "Some", "model": "One"}}
SEEN = {
    "spacing_range": [[0.7, 0.7, 1.0], [0.9, 0.9, 3.0]],
    "extent_range_mm": [[250, 180, 200], [330, 240, 300]],
    "noise_range_hu": [8.0, 15.0],
}


MARKS = Marks(patients=20, most=9, most_without_pe=3)


def why(
    marks=2, positive=True, cut=(), facts=FACTS, spacing=(3, 3, 3), noise=10.0, seen=SEEN, marks_of=MARKS, **changes
):
    hu = np.random.default_rng(0).normal(40, noise, (80, 70, 100)).astype(np.float32)
    crop = sitk.GetImageFromArray(hu)
    crop.SetSpacing(spacing)
    plans = [Plan.model_construct(fingerprint=seen)]
    known = decision().model_copy(update={"marks": marks_of} | changes)
    return reasons(known, plans, facts, crop, cut, marks, positive)


SEEN_COARSE = SEEN | {"spacing_range": [[1, 1, 1], [3, 3, 3]]}


def test_what_training_saw_is_decided_on():
    assert why(seen=SEEN_COARSE) == {}
    assert why(seen={}) == {}  # a model of an earlier version


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ({"facts": FACTS | {"contrast": {"evidence": "present", "from": "image"}}}, "contrast medium"),
        ({"cut": ["inferior"]}, "cuts the lungs (inferior)"),
        ({"spacing": (3, 3, 4)}, "voxels of 3 x 3 x 4 mm are coarser than in training (up to 3 x 3 x 3 mm)"),
        ({"spacing": (3, 3, 1.9)}, "box of 300 x 210 x 152 mm is outside"),
        ({"noise": 35.0}, "noise of 3"),
        ({"noise": 2.0}, "noise of 2 HU is outside of what training saw (8 to 15 HU)"),
        ({"marks": 0}, "says PE, and nothing is marked"),
        ({"marks": 10}, "10 marks: none of 20 patients had more than 9"),
        ({"marks": 4, "positive": False}, "no PE beside 4 marks: no such patient had more than 3"),
        ({"trained_on": TRAINED_ON.model_copy(update={"kind": "phantom"})}, "has seen phantoms alone"),
    ],
)
def test_each_reason(case, reason):
    ((kind, found),) = why(**({"seen": SEEN_COARSE} | case)).items()
    assert reason in found
    assert kind in KINDS


@pytest.mark.parametrize(("marks", "decided"), [(18, True), (19, False)])
def test_of_few_patients_twice_the_marks_pass(marks, decided):
    known = Marks(patients=19, most=9, most_without_pe=3)
    assert (why(seen={}, marks=marks, marks_of=known) == {}) == decided


def test_a_phantom_is_decided_on_by_a_model_of_phantoms():
    ours = FACTS | {"scanner": {"manufacturer": "CPMN phantom", "model": "cpmn"}}
    assert why(seen={}, facts=ours, trained_on=TRAINED_ON.model_copy(update={"kind": "phantom"})) == {}


def test_tags_alone_are_no_contrast():
    """They are often copied from the protocol; the image is asked."""
    assert why(seen={}, facts=FACTS | {"contrast": {"evidence": "present", "from": "ContrastBolusAgent"}}) == {}


def test_an_indeterminate_reading_says_so_everywhere(results, tmp_path, bright_spot, write_series):
    record = predict_series(chest_series(write_series), results=results, variant="cpmn", output=tmp_path / "out")
    assert (record["decision"], record["reasons"]) == ("PE", [])
    write_decision(results, decision().model_copy(update={"marks": Marks(patients=4, most=0, most_without_pe=0)}))
    write_image(chest()[:, :, 8:], tmp_path / "cut.nii.gz")
    predict_series(tmp_path / "cut.nii.gz", results=results, variant="cpmn", output=tmp_path / "out")
    record = read_json(tmp_path / "out/prediction.json")
    assert record["decision"] == "indeterminate"
    assert record["positive"] is None
    assert record["probability"] == {"value": None, "low": None, "high": None, "reason": "indeterminate"}
    assert record["reasons"] == [
        "the scan cuts the lungs (inferior)",
        "1 marks: none of 4 patients had more than 0",
    ]
    assert set(record["reasons"]) <= set(record["warnings"])
    assert len(record["warnings"]) == 2
