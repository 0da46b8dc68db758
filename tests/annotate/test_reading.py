"""What becomes an outline: known answers on drawn probabilities."""

import weakref
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.annotate import reading, stage
from cpmn.annotate.reading import doubt_of, mean_probability, sure_pieces
from cpmn.annotate.stage import summarise, write_worklist
from cpmn.config.annotate import AnnotateConfig
from cpmn.files import read_table, write_json
from cpmn.volume.images import write_image

CONFIG = AnnotateConfig(threshold=0.5, sure=0.8, smallest_mm3=4.0)


def drawn() -> np.ndarray:
    probability = np.zeros((8, 8, 8), np.float32)
    probability[1:3, 1:3, 1:3] = 0.6
    probability[1, 1, 1] = 0.9  # sure somewhere: kept whole
    probability[5:7, 5:7, 5:7] = 0.7  # nowhere sure
    probability[7, 0, 0:3] = 0.95  # too small
    probability[4, 0, 0] = 0.3  # not marked, but not known either
    return probability


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_mean_of_networks_holds_one_map_at_a_time(monkeypatch, count):
    made: list[weakref.ref[np.ndarray]] = []
    maps, alive = np.random.default_rng(count).random((count, 4, 5, 6), np.float32), []

    def read(network: int, _crop: sitk.Image, overlap: float) -> SimpleNamespace:
        probability = maps[network]
        made.append(weakref.ref(probability))
        alive.append(sum(reference() is not None for reference in made))
        return SimpleNamespace(probability=probability)

    monkeypatch.setattr(reading, "predict_crop", read)
    networks: list[Any] = list(range(count))
    found = mean_probability(networks, sitk.Image(6, 5, 4, sitk.sitkInt16), 0.5)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.mean(list(maps), axis=0), rtol=0, atol=1e-6)
    assert max(alive) == 1


def test_pieces_are_kept_whole_if_they_are_sure_and_large():
    pieces = sure_pieces(drawn(), (1.0, 1.0, 1.0), CONFIG)
    assert pieces.dtype == np.uint16
    assert np.unique(pieces).tolist() == [0, 1]
    assert (pieces == 1).sum() == 8
    assert (sure_pieces(drawn(), (1.0, 1.0, 2.0), CONFIG) > 0).sum() == 11  # 3 voxels are 6 mm3 there
    assert not sure_pieces(np.zeros((4, 4, 4), np.float32), (1.0, 1.0, 1.0), CONFIG).any()


def test_a_teacher_is_measured_against_its_outline(monkeypatch, tmp_path):
    """Of two clots one is found, by four of the eight voxels of its piece; another piece of eight is false."""
    clots, probability = np.zeros((2, 8, 8, 8), np.float32)
    clots[1:3, 1:3, 2:4], clots[7, 7, 7] = 3, 9
    probability[1:3, 1:3, 1:3], probability[5:7, 5:7, 5:7] = 0.9, 0.85
    for name, values in (("ctpa", clots * 0), ("embolus", clots)):
        image = sitk.GetImageFromArray(values.astype(np.int16))
        image.SetSpacing((1.0, 1.0, 2.0))
        write_image(image, tmp_path / f"{name}.nii.gz")
    monkeypatch.setattr(stage, "mean_probability", lambda *_: probability)
    found = stage.measure_patient("p", 1, tmp_path, [], CONFIG)
    assert found == {
        **{"patient_id": "p", "label": 1, "score": pytest.approx(0.9), "clots": 2, "clots_found": 1},
        "dice": pytest.approx(2 * 4 / (16 + 9)),
        "outlined_ml": pytest.approx(0.032),
        "false_ml": pytest.approx(0.016),
    }
    assert stage.measure_patient("n", 0, tmp_path, [], CONFIG)["dice"] is None


def test_doubt_is_the_volume_that_the_networks_do_not_know():
    probability = drawn()
    doubt = doubt_of(probability, sure_pieces(probability, (1.0, 1.0, 1.0), CONFIG), voxel_ml=0.001)
    assert doubt.ml == np.float32(16) * 0.001  # 7 + 8 between 0.2 and 0.8, and the one at 0.3
    nothing = doubt_of(probability, np.zeros(probability.shape, np.uint16), 0.001)
    assert nothing.ml == float("inf")
    assert nothing.reason == "PE, but nothing outlined: highest probability 0.95"


def test_the_most_doubtful_come_first_and_nothing_outlined_before_all(tmp_path):
    for name, doubtful in (("a", 0.5), ("b", None), ("c", 2.0)):
        record = {"patient": name, "doubtful_ml": doubtful, "reason": "why", "outlined_ml": 1.0, "pieces": 1}
        write_json(tmp_path / name / "annotate.json", record)
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "annotate.json").touch()  # excluded
    write_worklist([tmp_path / name for name in ("a", "b", "c", "gone")], tmp_path / "worklist.csv")
    rows = read_table(tmp_path / "worklist.csv")
    assert [row["patient_id"] for row in rows] == ["b", "c", "a"]
    assert rows[1]["embolus"] == "c/embolus.nii.gz"


def test_summary_of_measured_patients():
    rows = [
        {"label": 1, "dice": 0.8, "score": 0.9, "clots": 3, "clots_found": 3, "false_ml": 0.0},
        {"label": 1, "dice": 0.0, "score": 0.4, "clots": 1, "clots_found": 0, "false_ml": 0.0},
        {"label": 0, "dice": None, "score": 0.5, "clots": 0, "clots_found": 0, "false_ml": 0.3},
    ]
    found = summarise(rows)
    assert (found["n_pe"], found["n_normal"]) == (2, 1)
    # 0.8 and 0: Student's t of one degree of freedom reaches far beyond what a share can be.
    assert found["dice"] == {"value": pytest.approx(0.4), "low": 0.0, "high": 1.0, "n": 2}
    assert (found["clots_found"]["value"], found["clots_found"]["n"]) == (0.75, 4)
    assert found["false_ml"] == {"value": 0.3, "low": None, "high": None, "n": 1}  # one patient tells no spread
    assert (found["auc"]["value"], found["auc"]["n"]) == (0.5, 3)


def test_summary_of_nobody_has_no_figures():
    found = summarise([])
    assert (found.pop("n_pe"), found.pop("n_normal")) == (0, 0)
    nothing = {"value": None, "low": None, "high": None, "n": 0}
    assert found == dict.fromkeys(("dice", "clots_found", "false_ml", "auc"), nothing)
