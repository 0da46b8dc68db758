"""A model as one file: a zip archive of what reading a scan needs, and of what whoever gets it should know.

It holds `decision.json` with the seal, `fold-K/plan.json` and `fold-K/model.safetensors`, `model_card.md` and
`LICENCE.txt`. Nothing in it is pickled or run. The same model gives the same bytes.
"""

import zipfile
from pathlib import Path

import cpmn
from cpmn.errors import CpmnError
from cpmn.files import written_atomically
from cpmn.model.modelfiles import CARD_FILE, DECISION_FILE, LICENCE_FILE, SUFFIX, RunFiles, ZippedFiles, fold_files
from cpmn.model.seal import change_warnings, training_warning, verified
from cpmn.scoring.decision import Decision

USE = "Research use only, not a medical device."
STATEMENT = "Research use only. Not a medical device: no clinical decision may rest on this result."
"""Of a result, in every file that says what it is."""
NOT_STATED = "not stated. Ask who gave you this file."
WHEN = (1980, 1, 1, 0, 0, 0)  # of every member: the earliest that a zip archive can say


def export_model(results: Path, variant: str, path: Path, licence: str | None = None) -> Decision:
    """Write a variant of a finished run to the model file `path`; its decision.

    Parameters
    ----------
    licence : of the weights, one line; it depends on the patients' data and is not ours to give.

    Raises CpmnError if the path does not end in .cpmn, or the model is not what was sealed.
    """
    if path.suffix != SUFFIX:
        raise CpmnError(f"{path} is no name for a model file. End it in {SUFFIX}.")
    files = RunFiles(results, variant)
    decision = verified(files)
    names = [DECISION_FILE, *(name for fold in sorted(decision.folds) for name in fold_files(fold))]
    texts = {
        CARD_FILE: facts(decision) + _card(files),
        LICENCE_FILE: licence_text(licence),
    }
    with written_atomically(path) as temporary:
        with zipfile.ZipFile(temporary, "w") as made:
            for name in names:
                _add(made, name, files.read(name))
            for name, text in texts.items():
                _add(made, name, text.encode())
        verified(ZippedFiles(temporary))  # read back before it gets its name
    return decision


def _card(files: RunFiles) -> str:
    """The report's model card, if it was written after the decision: an older one is of the run before."""
    card, decision = (files.path(name) for name in (CARD_FILE, DECISION_FILE))
    if not card.is_file() or card.stat().st_mtime_ns < decision.stat().st_mtime_ns:
        return ""
    return "\n" + card.read_text(encoding="utf-8")


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    member = zipfile.ZipInfo(name, WHEN)
    member.external_attr = 0o644 << 16
    member.compress_type = zipfile.ZIP_STORED if name.endswith(".safetensors") else zipfile.ZIP_DEFLATED
    archive.writestr(member, content)


def licence_text(licence: str | None) -> str:
    """Contents of `LICENCE.txt`."""
    return (
        f"Weights, plans and decision: {licence or NOT_STATED}\n"
        f"Made by cpmn {cpmn.__version__}, whose own licence is Apache-2.0.\n"
    )


def facts(decision: Decision) -> str:
    """The first lines of the card, of this variant alone, in Markdown."""
    assert decision.seal is not None  # `verified` has seen it
    trained = decision.trained_on
    patients = f"{trained.n_pe} with PE, {trained.n_normal} without, on {trained.date}" if trained else "not known"
    value, warnings = decision.threshold.value, [training_warning(decision), *change_warnings(decision)]
    return "\n".join(
        [
            f"# {decision.variant}: pulmonary embolism on non-contrast chest CT",
            "",
            f"> **{USE}**",
            "",
            *(f"- WARNING: {warning}" for warning in warnings if warning),
            f"- Hash of weights, plans and decision: `{decision.seal.sha256}`",
            f"- Networks: {len(decision.folds)}; trained on patients: {patients}",
            f"- Threshold: {'none' if value is None else value}; {decision.threshold.rule}; fitted on "
            f"{decision.threshold.n_pe} with and {decision.threshold.n_normal} without PE",
            "",
        ]
    )
