"""That the study reads scans as `evaluate` and `predict` do: nothing is marked where no embolus can be."""

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.cohort.sheet import load_cohort
from cpmn.config.root import load_config
from cpmn.files import write_json, write_table
from cpmn.model import ensemble
from cpmn.model.inference import Prediction
from cpmn.volume.images import write_image
from study import keep, own, scores
from study.cohort import MASKS

NAME = "train-001"


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Results of a study with one pair that nobody outlined, whose crop is all lung; its networks are none."""
    row = {"patient_id": NAME, "nct": "a/nct", "ctpa": "a/ctpa", "ctpa_mask": "", "label": 1, "split": "train"}
    write_table(tmp_path / "cohort.csv", list(row), [row])
    write_json(tmp_path / MASKS, {})
    write_json(tmp_path / "a/phantom.json", {"noise_hu": {"nct": 12.0}, "clots": []})
    made = tmp_path / "results"
    write_json(made / "train/splits.json", {"folds": [{}]})
    write_json(made / "crop" / NAME / "status.json", {"passed": True})
    for name, value in {"nct": -800, "lung": 1, "embolus": 0}.items():
        image = sitk.GetImageFromArray(np.full((4, 8, 8), value, np.int16))
        write_image(image, made / "crop" / NAME / f"{name}.nii.gz")
    write_image(image, made / "convert" / NAME / "nct.nii.gz")
    write_image(image, made / "evaluate/nct_only/reference" / f"{NAME}.nii.gz")
    for module in (keep, own, scores):
        monkeypatch.setattr(module, "load_folds", lambda *_: {0: None}, raising=False)
    return made


@pytest.fixture
def allowed(monkeypatch):
    """Where each scan that was read may be marked."""
    seen = []

    def predict(_, nct: sitk.Image, **options) -> Prediction:
        seen.append(options["allowed"])
        nothing = np.zeros(nct.GetSize()[::-1], np.float32)
        return Prediction(nothing, nothing, 0.5)

    monkeypatch.setattr(ensemble, "predict_crop", predict)
    return seen


def test_a_locked_patient_is_read_with_its_lungs(results, allowed):
    (patient,) = load_cohort(results.parent / "cohort.csv")
    assert scores._row(patient, results, {0: None}, load_config({}))["predicted_ml"] == 0
    assert [one.shape for one in allowed] == [(4, 8, 8)]


def test_a_pair_is_outlined_with_its_lungs(results, allowed, tmp_path):
    assert own.outline_by_itself(results, "nct_only", tmp_path / "masks", load_config({})) == {NAME: 0}
    assert [one.shape for one in allowed] == [(4, 8, 8)]


@pytest.mark.parametrize("anatomy", [True, False])
def test_what_is_kept_is_read_as_the_decision_says(results, allowed, anatomy):
    decision = load_config({"evaluate": {"anatomy": anatomy}}).evaluate.model_dump()
    found, _ = keep._read_again(keep.Run(results, "nct_only", "nct_only", 0, "mixed", {}), [NAME], decision)
    assert list(found) == [NAME]
    assert [one is not None for one in allowed] == [anatomy]
