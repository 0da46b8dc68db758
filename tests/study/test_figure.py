"""The forest plot in the page is the one that the kept tables give."""

from study.figure import draw_forest
from study.page import DOCS


def test_the_plot_is_drawn_alike_each_time_and_stands_in_the_page(tmp_path):
    draw_forest(tmp_path / "forest.png")
    drawn = (tmp_path / "forest.png").read_bytes()
    assert drawn.startswith(b"\x89PNG")
    assert drawn == (DOCS / "images" / "forest.png").read_bytes()
