"""What MLflow serves is what `prediction.json` holds."""

import json
from types import SimpleNamespace

import pytest

from cpmn import load_model
from cpmn.model.package import export_model


def test_a_served_model_answers_with_the_whole_record(series, results, tmp_path, bright_spot):
    import pandas as pd

    from cpmn.predict.served import Served

    export_model(results, "cpmn", tmp_path / "model.cpmn")
    served = Served()
    served.load_context(SimpleNamespace(artifacts={"model": str(tmp_path / "model.cpmn")}))
    by_path = served.predict(None, pd.DataFrame({"path": [str(series)]}))
    by_contents = served.predict(None, pd.DataFrame({"nifti": [series.read_bytes()]}))
    expected = load_model(results).predict(series)
    for answer in (by_path, by_contents):
        (row,) = answer.to_dict("records")
        record = json.loads(row["prediction"])
        apart = {"times": 0, "request": ""}  # contents come without the file's date
        assert record | apart == expected | apart
        assert row["decision"] == expected["decision"]
        assert row["score"] == pytest.approx(expected["score"])
        assert row["threshold"] == pytest.approx(expected["threshold"]["value"])
