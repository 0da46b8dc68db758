"""Pictures from a run: the clot or mark of middle volume of each kind."""

import numpy as np
import pytest
import SimpleITK as sitk

from cpmn.errors import CpmnError
from cpmn.files import write_table
from cpmn.volume.images import write_image
from study.pictures import draw_pictures

SHAPE = (20, 60, 60)


def write(path, array):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((2.0, 2.0, 3.0))
    write_image(image, path)


@pytest.fixture
def results(tmp_path):
    """One patient with three found clots of 8, 27 and 64 voxels, a missed one and a false mark."""
    reference, prediction = np.zeros(SHAPE, np.uint16), np.zeros(SHAPE, np.uint8)
    for number, (side, corner) in enumerate(((2, 3), (3, 20), (4, 40)), start=1):
        cube = (slice(2, 2 + side), slice(corner, corner + side), slice(5, 5 + side))
        reference[cube] = number
        prediction[cube] = 1
    reference[12:15, 30:33, 30:33] = 4
    prediction[12:15, 50:53, 50:53] = 1
    folder = tmp_path / "evaluate" / "nct_only"
    write_table(folder / "patients.csv", ("patient_id", "split"), [{"patient_id": "p1", "split": "test"}])
    for name, array in (("reference", reference), ("predictions", prediction), ("cam", np.zeros(SHAPE, np.float32))):
        write(folder / name / "p1.nii.gz", array)
    write(tmp_path / "convert" / "p1" / "nct.nii.gz", np.full(SHAPE, 40, np.int16))
    return tmp_path


def test_the_middle_one_of_each_kind_is_drawn(results, tmp_path):
    shown = draw_pictures(results, "nct_only", tmp_path / "out")
    assert [(place.kind, round(place.ml / 0.012)) for place in shown] == [
        ("found", 27),
        ("missed", 27),
        ("false-mark", 27),
    ]
    assert [place.voxel for place in shown] == [(3, 21, 6), (13, 31, 31), (13, 51, 51)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["false-mark.png", "found.png", "missed.png"]


def test_a_run_without_false_marks_says_so(results, tmp_path):
    path = results / "evaluate" / "nct_only" / "predictions" / "p1.nii.gz"
    write(path, (sitk.GetArrayFromImage(sitk.ReadImage(str(path))) * (np.arange(20) < 10)[:, None, None]).astype("u1"))
    with pytest.raises(CpmnError, match="no test patient shows a mark without a clot"):
        draw_pictures(results, "nct_only", tmp_path / "out")
