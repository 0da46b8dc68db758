"""Templates of pages, set up in one place, and so is their escaping."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def templates(folder: Path, escape: bool) -> Environment:
    """Jinja templates of `folder`; a value that is not given raises UndefinedError.

    escape : for HTML, everywhere: names, reasons and titles are not ours. Markdown escapes in its own way, or need not.
    """
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=not escape,
    )
