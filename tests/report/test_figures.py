"""Drawings: they follow the page's colours, and say in words what they show."""

import re
import xml.etree.ElementTree as ElementTree

import pandas as pd
import pytest

from cpmn.report.figures import learning_curve, roc_figure, score_figure

HISTORY = {"a": {"fold-0": pd.DataFrame({"step": [50, 100, 150], "x": [1.0, None, 0.5]})}, "b": {}}


def drawings():
    roc = pd.DataFrame({"fpr": [0.0, 0.0, 1.0], "tpr": [0.0, 1.0, 1.0]})
    return [
        learning_curve(HISTORY, "x", "loss & more"),
        roc_figure({"a": roc}, ["a", "b"], {"b": (0.0, 1.0)}),
        score_figure([0.9, 0.8], [0.1], 0.5, 1),
        score_figure([0.9], [], None, 0),
    ]


@pytest.mark.parametrize("index", range(4))
def test_drawing_is_well_formed_and_named(index):
    svg = str(drawings()[index])
    root = ElementTree.fromstring(svg.replace("<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" ', 1))
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"]


@pytest.mark.parametrize("index", range(4))
def test_colours_come_from_the_page(index):
    svg = str(drawings()[index])
    assert "var(--ink)" in svg
    assert not re.search(r"#[0-9a-fA-F]{6}\b", svg)
    assert "font-family" not in svg


def test_missing_points_are_joined_over():
    svg = str(learning_curve(HISTORY, "x", "loss"))
    line = re.search(r'<path d="([^"]*)"[^>]*style="[^"]*var\(--v0\)', svg)
    assert line
    assert line.group(1).count("L") == 1


def test_nothing_to_draw():
    assert learning_curve(HISTORY, "absent", "x") is None


def test_same_input_same_drawing():
    assert drawings() == drawings()
