"""Patients by visible clot and clots by contrast: known answers."""

import numpy as np
import pandas as pd
import pytest

from study.groups import clots_found, thirds, visible_ml
from study.tables import CLOTS, write
from study.uncertainty import Readings

COLUMNS = ["difficulty", "run", "patient_id", "clot_id", "ml", "contrast_hu", "found"]


def kept(folder, *clots):
    table = pd.DataFrame([("mixed", *clot) for clot in clots], columns=pd.Index(COLUMNS))
    write(table.assign(confidence=1.0), folder / CLOTS)


def test_only_clots_that_differ_from_blood_are_visible_and_each_counts_once(tmp_path):
    """Patient b has most clot and least that can be seen; in c nothing is visible."""
    clots = [("a", 1, 2.0, -9, 0), ("b", 1, 4.0, 3, 0), ("b", 2, 1.0, 20, 1), ("c", 1, 1.0, -2, 0)]
    kept(tmp_path, *((run, *clot) for run in ("cpmn-s0", "cpmn-s1") for clot in clots))
    assert visible_ml("mixed", tmp_path).to_dict() == {"a": 2.0, "b": 1.0, "c": 0.0}


def test_a_third_is_ranked_against_all_normals_and_averaged_over_seeds(tmp_path):
    """By visible volume b, a, c: scores 0.9 and 0.2, 0 and 0, 0.3 and 0.3 against normals of 0.5 and 0.1."""
    kept(tmp_path, *(("cpmn-s0", name, 1, ml, 20, 1) for name, ml in (("a", 2.0), ("b", 1.0), ("c", 3.0))))
    pe, normal = np.array([[0.0, 0.9, 0.3], [0.0, 0.2, 0.3]]), np.array([[0.5, 0.1], [0.5, 0.1]])
    names = ("a", "b", "c"), ("d", "e")
    found = thirds("mixed", {"cpmn": Readings((0, 1), pe, normal, np.zeros_like(pe), names)}, tmp_path)
    assert found.index.tolist() == ["1.0 to 1.0", "2.0 to 2.0", "3.0 to 3.0"]
    assert found["cpmn"].tolist() == pytest.approx([0.75, 0.0, 0.5])


def test_clots_are_counted_once_and_found_over_seeds(tmp_path):
    """The ends of a group belong to the brighter one."""
    clots = [("a", 1, 0.2, 15), ("a", 2, 0.2, 14.9), ("b", 1, 0.2, -5), ("b", 2, 0.2, -15.1)]
    seeds = {"cpmn-s0": (1, 0, 1, 0), "cpmn-s1": (1, 1, 0, 0), "nct_only-s0": (0, 0, 0, 1)}
    kept(tmp_path, *((run, *clot, hit) for run, hits in seeds.items() for clot, hit in zip(clots, hits, strict=True)))
    found = clots_found("mixed", tmp_path)
    names = ["15 HU or more brighter", "5 to 15 HU brighter", "within 5 HU", "15 HU or more darker"]
    assert found.index.tolist() == names
    assert found["cpmn"].tolist() == [1.0, 0.5, 0.5, 0.0]
    assert found["nct_only"].tolist() == [0.0, 0.0, 0.0, 1.0]
    assert found["clots"].tolist() == [1, 1, 1, 1]
