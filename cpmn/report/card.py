"""The model card, in Markdown."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cpmn.report.estimates import MetricTable

TEMPLATES = Path(__file__).parent / "templates"


def model_card(context: dict[str, Any]) -> str:
    """Markdown text of `model_card.md`; `context` is that of the page."""
    environment = Environment(  # Markdown has its own escaping: `_plain`
        loader=FileSystemLoader(TEMPLATES),
        autoescape=False,
        finalize=_plain,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("model_card.md.j2").render(context, rows=_rows(context["table"]))


def _plain(value: Any) -> Any:
    """One line of text in which a Markdown renderer finds no HTML."""
    return value.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ") if isinstance(value, str) else value


def _rows(table: MetricTable) -> list[list[str]]:
    """Lines of the metric table: the label (with its level), then a cell per variant."""
    return [[f"{name}: {metric.label}", *metric.cells] for name, metrics in table.groups for metric in metrics]
