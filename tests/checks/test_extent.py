import pytest
import SimpleITK as sitk

from cpmn.checks.extent import large_enough


@pytest.mark.parametrize(
    ("size", "spacing", "all_axes", "in_plane"),
    [
        ((50, 50, 50), (2.0, 2.0, 2.0), True, True),
        ((50, 50, 49), (2.0, 2.0, 2.0), False, True),
        ((50, 49, 50), (2.0, 2.0, 2.0), False, False),
        ((200, 200, 20), (0.5, 0.5, 5.0), True, True),
    ],
)
def test_each_axis_that_is_asked_has_100_mm(size, spacing, all_axes, in_plane):
    image = sitk.Image(size, sitk.sitkInt16)
    image.SetSpacing(spacing)
    assert (large_enough(image), large_enough(image, "xy")) == (all_axes, in_plane)
