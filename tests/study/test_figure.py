"""The plots in the page are those that the kept tables give."""

import pytest

from study.few import KS, OUTLINES
from study.figure import NONE, TICKS, draw_curve, draw_forest
from study.page import DOCS


@pytest.mark.parametrize(("name", "draw"), [("forest", draw_forest), ("outlines", draw_curve)])
def test_a_plot_is_drawn_alike_each_time_and_stands_in_the_page(name, draw, tmp_path):
    draw(tmp_path / "plot.png")
    drawn = (tmp_path / "plot.png").read_bytes()
    assert drawn.startswith(b"\x89PNG")
    assert drawn == (DOCS / "images" / f"{name}.png").read_bytes()


def test_no_outlines_have_a_place_of_their_own_and_every_number_a_tick():
    assert min(number for number in KS if number) > NONE
    assert (*KS, OUTLINES) == TICKS
