import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import cpmn.train.validation as validation
from cpmn.config.train import TrainConfig
from cpmn.model.devices import has_bfloat16
from cpmn.model.inference import VolumeOutput
from cpmn.model.network import build_pathway
from cpmn.train.subjects import Subject
from cpmn.train.validation import validate
from tests.settings import train_config


def subject(label: int) -> Subject:
    shape = (8, 16, 16)
    voxels = np.zeros((0, 3), np.int16)
    embolus = np.zeros(shape, np.uint8)
    embolus[2:4, 2:4, 2:4] = label
    return Subject("p", label, np.full(shape, 45, np.int16), None, embolus, voxels, voxels)


def test_validation_of_an_untrained_network():
    config = train_config(patch_size=(16, 16, 8), channels=(8, 8))
    pathway = build_pathway((8, 8), ((2, 2, 2),), seed=0)
    result = validate(pathway, [subject(1), subject(0)], (3.0, 3.0, 4.0), config, torch.device("cpu"))
    assert result["validation_dice"] == 0  # nothing reaches a probability of 0.5
    assert result["validation_auc"] == 0.5  # both scans are alike
    assert result["validation_loss"] == pytest.approx(1.0 + 0.05 - 0.5 * 0.5 * math.log(0.01 * 0.5), abs=0.15)
    assert pathway.training


def test_what_has_no_patients_is_none():
    config = train_config(patch_size=(16, 16, 8), channels=(8, 8))
    pathway = build_pathway((8, 8), ((2, 2, 2),), seed=0)
    normal = validate(pathway, [subject(0)], (3.0, 3.0, 4.0), config, torch.device("cpu"))
    assert normal["validation_dice"] is None
    assert normal["validation_auc"] is None
    assert normal["validation_loss"] is not None
    assert set(validate(pathway, [], (3.0, 3.0, 4.0), config, torch.device("cpu")).values()) == {None}


def test_a_patient_whose_clots_lie_beyond_the_crop_asks_nothing_of_the_mask():
    config = train_config(patch_size=(16, 16, 8), channels=(8, 8))
    pathway = build_pathway((8, 8), ((2, 2, 2),), seed=0)
    outside = replace(subject(0), label=1)
    found = validate(pathway, [outside, subject(0)], (3.0, 3.0, 4.0), config, torch.device("cpu"))
    assert found["validation_dice"] is None
    assert found["validation_auc"] == 0.5


def test_a_ctpa_pathway_is_validated_on_the_ctpa(monkeypatch):
    """A reader that marks what lies below its window's centre: on the CTPA that is the clot, on the NCT nothing.

    The patient without a CTPA, of whom it would mark nothing, does not count.
    """

    def read(_pathway, volume, *_, **__) -> VolumeOutput:
        return VolumeOutput((volume < 0).float(), volume, -volume.mean())

    monkeypatch.setattr(validation, "predict_volume", read)
    pe, normal, alone = subject(1), subject(0), subject(1)
    ctpa = np.full(pe.embolus.shape, 400, np.int16)
    subjects = [replace(pe, ctpa=np.where(pe.embolus, 50, ctpa)), replace(normal, ctpa=ctpa), alone]
    pathway = build_pathway((8, 8), ((2, 2, 2),), seed=0)
    found = validate(pathway, subjects, (3.0, 3.0, 4.0), TrainConfig(), torch.device("cpu"), phase="ctpa")
    assert {name: found[f"validation_{name}_ctpa"] for name in ("dice", "auc", "found")} == dict.fromkeys(
        ("dice", "auc", "found"), 1.0
    )
    on_nct = validate(pathway, subjects, (3.0, 3.0, 4.0), TrainConfig(), torch.device("cpu"))
    assert (on_nct["validation_dice"], on_nct["validation_found"], on_nct["validation_auc"]) == (0.0, 0.0, 0.5)


def test_dice_is_of_pe_patients_and_auc_of_all(monkeypatch):
    """Dice 0.2 and 0.6 in PE patients (the normal's does not count), one of two normals above one of two: AUC 3/4."""
    rows = iter([(1.0, 0.2, 2.0, 3, 1), (1.0, 0.9, 1.0, 0, 0), (1.0, 0.6, 0.5, 5, 5), (1.0, 0.9, 0.0, 0, 0)])
    monkeypatch.setattr(validation, "_validate_subject", lambda *_: next(rows))
    pathway = build_pathway((8, 8), ((2, 2, 2),), seed=0)
    subjects = [subject(label) for label in (1, 0, 1, 0)]
    found = validate(pathway, subjects, (3.0, 3.0, 4.0), TrainConfig(), torch.device("cpu"))
    assert found == pytest.approx(
        {
            **{"validation_loss": 1.0, "validation_dice": 0.4, "validation_auc": 0.75},
            "validation_found": 0.75,  # 6 of 8 clots
        }
    )


@pytest.mark.skipif(not has_bfloat16(), reason="this processor computes in float32 whatever is asked for")
@pytest.mark.parametrize("bfloat16", [True, False, "auto"])
def test_validation_has_the_precision_of_the_training(bfloat16, monkeypatch):
    config = train_config(patch_size=(16, 16, 8), channels=(8, 8), bfloat16=bfloat16)
    pathway, read, mixed = build_pathway((8, 8), ((2, 2, 2),), seed=0), validation.predict_volume, []

    def watched(*arguments, **settings):
        mixed.append(torch.is_autocast_enabled("cpu"))
        return read(*arguments, **settings)

    monkeypatch.setattr(validation, "predict_volume", watched)
    validate(pathway, [subject(1)], (3.0, 3.0, 4.0), config, torch.device("cpu"))
    assert mixed == [bfloat16 is True]
