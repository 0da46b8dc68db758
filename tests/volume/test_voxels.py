"""What lies near a mask."""

import numpy as np
import pytest
from scipy import ndimage

from cpmn.volume.voxels import within


@pytest.mark.parametrize("mm", [0.0, 2.9, 4.5, 100.0])
def test_near_a_mask_is_what_the_distance_of_the_whole_image_says(mm):
    random = np.random.default_rng(0)
    mask = np.zeros((12, 15, 18), np.uint8)
    mask[2:9, 4:8, 0:11] = random.random((7, 4, 11)) > 0.8
    distance = ndimage.distance_transform_edt(mask == 0, sampling=(3.0, 1.5, 1.25))
    assert np.array_equal(within(mask, mm, (1.25, 1.5, 3.0)), distance <= mm)


def test_nothing_is_near_an_empty_mask():
    assert not within(np.zeros((3, 4, 5), bool), 10.0, (1.0, 1.0, 1.0)).any()
