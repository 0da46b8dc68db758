"""`snakemake --report report.zip`: every figure is there, under a category, labelled and explained."""

import json
import zipfile

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workflow")]


def _variable(page: str, name: str):
    """Value of a JavaScript variable of the page that is set to JSON."""
    start = page.index(f"var {name} = {{") + len(f"var {name} = ")
    return json.JSONDecoder().raw_decode(page, start)[0]


def test_report_zip_shows_every_figure_with_caption_and_category(finished, tmp_path):
    archive = tmp_path / "report.zip"
    done = finished.snakemake("--report", str(archive))
    assert done.returncode == 0, done.stdout[-3000:]
    with zipfile.ZipFile(archive) as opened:
        page = opened.read("report/report.html").decode()
        names = {name.rsplit("/", 1)[-1] for name in opened.namelist()}
    assert {"index.html", "quality.png", "history.csv", "roc.csv", "patients.csv", "comparison.csv"} <= names
    results, categories = _variable(page, "results"), _variable(page, "categories")
    assert set(categories) == {"Registration", "Training", "Evaluation", "Report"}
    patients = [row["patient_id"] for row in finished.rows()]
    for patient in patients:
        assert patient in results[f"results/register/{patient}/quality.png"]["caption"]
    for variant in ("cpmn", "nct_only"):
        assert variant in results[f"results/train/{variant}/fold-0/history.csv"]["caption"]
        assert variant in results[f"results/evaluate/{variant}/roc.csv"]["caption"]
    for path, result in results.items():
        assert result["caption"], path
        assert result["labels"], path
        assert "{{" not in result["caption"], path
    assert "synthetic phantom" in page
