"""What several folds make of one crop together."""

import math

import numpy as np
import pytest
import SimpleITK as sitk

import cpmn.model.ensemble as ensemble
from cpmn.config.evaluate import EvaluateConfig
from cpmn.model.ensemble import read_crop
from cpmn.model.inference import Prediction


@pytest.fixture
def nct() -> sitk.Image:
    image = sitk.Image(2, 2, 2, sitk.sitkInt16)
    image.SetSpacing((10.0, 10.0, 10.0))  # a voxel is 1 mL
    return image


def test_folds_are_averaged_and_keep_features_of_their_own(nct, monkeypatch):
    def predict(model: float, *_, **__) -> Prediction:
        return Prediction(np.full((2, 2, 2), model, np.float32), np.full((2, 2, 2), model / 2, np.float32), model)

    monkeypatch.setattr(ensemble, "predict_crop", predict)
    models = {0: 0.2, 3: 0.6, 4: 0.7}
    settings = EvaluateConfig.model_validate({"segmentation_threshold": 0.5})
    reading = read_crop(models, nct, settings, nct + 1)  # pyright: ignore
    assert reading.probability == pytest.approx(np.full((2, 2, 2), 0.5))
    assert reading.cam == pytest.approx(np.full((2, 2, 2), 0.25))
    assert reading.class_probability == pytest.approx(0.5)
    assert set(reading.features) == {0, 3, 4}
    for fold, probability in models.items():
        marked = 8 * probability if probability >= 0.5 else 0
        assert reading.features[fold] == pytest.approx(
            {"classification": math.log(probability / (1 - probability)), "lesion": math.log(marked + 0.01)}, rel=1e-5
        )


def test_a_scan_without_its_lungs_is_not_read_as_if_anatomy_were_off(nct):
    with pytest.raises(ValueError, match=r"evaluate\.anatomy is on, and needs the mask of the lungs"):
        read_crop({}, nct, EvaluateConfig.model_validate({}))


def test_settings_of_reading_reach_every_fold(nct, monkeypatch):
    seen = []

    def predict(model: str, image: sitk.Image, **options) -> Prediction:
        seen.append((model, options))
        return Prediction(np.zeros((2, 2, 2), np.float32), np.zeros((2, 2, 2), np.float32), 0.5)

    monkeypatch.setattr(ensemble, "predict_crop", predict)
    chosen = {"overlap": 0.25, "mirror": True, "highest_hu": 150.0, "bfloat16": True}
    anywhere = EvaluateConfig.model_validate(chosen | {"anatomy": False})
    read_crop({0: "a", 1: "b"}, nct, anywhere, nct + 1)  # pyright: ignore
    assert seen == [("a", chosen | {"allowed": None}), ("b", chosen | {"allowed": None})]
    read_crop({0: "a"}, nct, EvaluateConfig.model_validate({}), nct + 1)  # pyright: ignore
    assert seen[-1][1]["allowed"].all()  # all of it is lung
