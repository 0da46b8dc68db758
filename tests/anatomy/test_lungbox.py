"""The middle of the body, which decides on the side of a mark."""

import numpy as np
import pytest

from cpmn.anatomy.lungbox import body_middle
from cpmn.predict.lesions import _Places

MIDDLE = 210
SPACING = (1.0, 1.0, 4.0)


def chest(effusion: bool = False, arm: bool = False, table: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """HU and lungs (z, y, x) of an even trunk, perhaps with fluid on the left, the left arm in view, a table below."""
    _, y, x = np.mgrid[:10, :260, :460]
    x, y = x - MIDDLE, y - 118
    lungs = [((x - side * 85) / 60) ** 2 + (y / 75) ** 2 <= 1 for side in (-1, 1)]
    hu = np.where((x / 175) ** 2 + (y / 100) ** 2 <= 1, 40.0, -1000.0)
    hu[lungs[0] | lungs[1]] = -850
    if effusion:
        hu[lungs[1] & (y > -50)] = 10
    if arm:
        hu[((x - 215) / 34) ** 2 + ((y - 10) / 34) ** 2 <= 1] = 40
    if table:
        hu[(y > 106) & (y < 112)] = 0
    return hu, hu == -850


@pytest.mark.parametrize("lopsided", [{}, {"effusion": True}, {"arm": True}, dict.fromkeys(("effusion", "arm"), True)])
@pytest.mark.parametrize("table", [False, True])
def test_neither_fluid_nor_an_arm_nor_a_table_moves_the_middle(lopsided, table):
    hu, lungs = chest(**lopsided, table=table)
    assert body_middle(hu, SPACING) == pytest.approx(MIDDLE, abs=1.5)
    places = _Places(hu, lungs, SPACING)
    marks = {side: np.arange(11) + MIDDLE + shift for side, shift in (("right", -20), ("both", -5), ("left", 10))}
    assert {side: places.side(columns) for side, columns in marks.items()} == {side: side for side in marks}


def test_nothing_in_view_has_its_middle_in_the_image():
    assert body_middle(np.full((4, 30, 41), -1000.0), (3.0, 3.0, 3.0)) == 20.0
