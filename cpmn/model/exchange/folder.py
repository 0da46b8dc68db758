"""What every exported folder holds besides networks: the decision, the plans, the licence and a page for people."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cpmn.errors import CpmnError
from cpmn.files import UMASK
from cpmn.model.modelfiles import DECISION_FILE, LICENCE_FILE, ModelFiles, RunFiles, fold_files
from cpmn.model.package import licence_text
from cpmn.pages import templates
from cpmn.scoring.decision import Decision

TEMPLATES = Path(__file__).parent / "templates"


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that gets the name `folder` on success. Raises CpmnError if that is taken."""
    if folder.exists():
        raise CpmnError(f"{folder} is there already. Remove it, or give another name with -o.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".writing-{folder.name}-", dir=folder.parent))
    try:
        yield temporary
        temporary.chmod(0o777 & ~UMASK)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def copy_facts(files: ModelFiles, decision: Decision, folder: Path, licence: str | None) -> None:
    """Write decision, plans and licence of a model into `folder`; without `licence` that of a model file."""
    for name in (DECISION_FILE, *(fold_files(fold)[0] for fold in sorted(decision.folds))):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(files.read(name))
    stated = licence is None and not isinstance(files, RunFiles)
    text = files.read(LICENCE_FILE) if stated else licence_text(licence).encode()
    (folder / LICENCE_FILE).write_bytes(text)


def rendered(template: str, **context: Any) -> str:
    """Text of a Markdown template."""
    return templates(TEMPLATES, escape=False).get_template(template).render(context)
