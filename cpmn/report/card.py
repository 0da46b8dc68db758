"""The model card, in Markdown."""

from pathlib import Path
from typing import Any

from cpmn.pages import templates
from cpmn.report.estimates import MetricTable

TEMPLATES = Path(__file__).parent / "templates"


def model_card(context: dict[str, Any]) -> str:
    """Markdown text of `model_card.md`; `context` is that of the page."""
    environment = templates(TEMPLATES, escape=False)
    environment.finalize = _plain  # Markdown has its own escaping
    return environment.get_template("model_card.md.j2").render(context, rows=_rows(context["table"]))


def _plain(value: Any) -> Any:
    """One line of text in which a Markdown renderer finds no HTML."""
    return value.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ") if isinstance(value, str) else value


def _rows(table: MetricTable) -> list[list[str]]:
    """Lines of the metric table: the label (with its level), then a cell per variant."""
    return [[f"{name}: {metric.label}", *metric.cells] for name, metrics in table.groups for metric in metrics]
