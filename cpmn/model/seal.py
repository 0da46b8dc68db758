"""The identity of a model: one hash over weights, plans and decision, checked whenever the model is loaded.

The decision holds all settings that change a reading (conversion, lung box, windows, marks, threshold) and what the
networks were trained on. Whoever edits any of it has another model, and gets no result under the old model's name:
`verified` refuses it until `reseal` is told why it was changed, which stands in the model from then on.

The hash keeps accidents and silent edits out. It is no signature: who can write the files can seal them.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cpmn.errors import CpmnError
from cpmn.files import parse_json, sha256_of_json, write_json
from cpmn.model.modelfiles import DECISION_FILE, ModelFiles, fold_files
from cpmn.model.plan import PLAN_FILE
from cpmn.scoring.decision import Decision, Seal


def sealed(decision: Mapping[str, Any], files: ModelFiles) -> dict[str, Any]:
    """`decision` (contents of `decision.json`) with the seal of itself and of the plans and weights in `files`."""
    bare = {key: value for key, value in decision.items() if key != "seal"}
    parts = {DECISION_FILE: sha256_of_json(bare)} | _parts_of_folds(bare, files)
    return bare | {"seal": Seal(sha256=sha256_of_json(parts), parts=parts).model_dump()}


def verified(files: ModelFiles) -> Decision:
    """The decision of a model whose files are those that were sealed.

    Raises CpmnError for a decision that is none, has no seal, or whose seal is of other files; the message names them.
    """
    raw = _read(files)
    decision = _decision(files, raw)
    if decision.seal is None:
        raise CpmnError(
            f"{files.where} has no seal, so that nothing shows whether the model is as it was made. Evaluate the "
            "variant again (`snakemake --cores N`), or vouch for it: `cpmn seal`."
        )
    found = Seal.model_validate(sealed(raw, files)["seal"])
    if found != decision.seal:
        names = sorted(found.parts.keys() | decision.seal.parts.keys())
        changed = [name for name in names if found.parts.get(name) != decision.seal.parts.get(name)] or ["its seal"]
        raise CpmnError(
            f"the model of {files.where} is not what it was when its decision was fitted; changed since: "
            f"{', '.join(changed)}. Score, threshold and marks would be those of no model that was ever evaluated. Was "
            "it trained again, run `snakemake --cores N`. Was it an accident, bring the files back. If it was changed "
            "on purpose, say why: `cpmn seal MODEL --reason TEXT`."
        )
    return decision


def reseal(files: ModelFiles, path: Path, reason: str) -> Decision:
    """Seal a model as it is now and write its decision to `path`, with the day, the former hash and the reason.

    Raises CpmnError for an empty reason and for a decision that is none.
    """
    if not reason.strip():
        raise CpmnError("a model is sealed anew for a reason: say it with --reason, it will stand in every result.")
    raw = _read(files)
    former = _decision(files, raw)
    before = former.seal.sha256 if former.seal else ""
    change = {"date": datetime.now(UTC).date().isoformat(), "former_sha256": before, "reason": reason.strip()}
    changed = sealed(raw | {"changes": [*raw.get("changes", ()), change]}, files)
    decision = _decision(files, changed)
    write_json(path, changed)
    return decision


def identity(files: ModelFiles) -> str:
    """The hash of a model's files as they are, whatever its seal says."""
    return sealed(_read(files), files)["seal"]["sha256"]


def training_warning(decision: Decision) -> str:
    """What of the training makes any result doubtful; empty for a model of patients' scans."""
    kind = decision.trained_on.kind if decision.trained_on else None
    return {
        "phantom": "trained on phantoms: this model has never seen a patient",
        "simulated": "trained on real chests with simulated emboli: this model has never seen an embolus",
        "patients": "",
        None: "UNKNOWN TRAINING DATA: nothing shows what this model was trained on",
    }[kind]


def change_warnings(decision: Decision) -> list[str]:
    """What was changed by hand after the model was evaluated."""
    return [f"the model was changed by hand on {one.date}: {one.reason}" for one in decision.changes]


def _parts_of_folds(decision: Mapping[str, Any], files: ModelFiles) -> dict[str, str]:
    parts = {}
    for fold in sorted(decision.get("folds", ()), key=str):
        for name in fold_files(fold):
            content = files.read(name)
            is_plan = name.endswith(PLAN_FILE)
            parts[name] = (
                sha256_of_json(_json(content, name, files)) if is_plan else hashlib.sha256(content).hexdigest()
            )
    return parts


def _read(files: ModelFiles) -> dict[str, Any]:
    raw = _json(files.read(DECISION_FILE), DECISION_FILE, files)
    if not isinstance(raw, dict) or not isinstance(raw.get("folds", {}), dict):
        raise _invalid(files, ValueError("it is no JSON object of a decision"))
    return raw


def _decision(files: ModelFiles, raw: Mapping[str, Any]) -> Decision:
    try:
        return Decision.model_validate(raw)
    except ValidationError as error:
        raise _invalid(files, error) from error


def _json(content: bytes, name: str, files: ModelFiles) -> Any:
    try:
        return parse_json(content)
    except ValueError as error:
        raise CpmnError(f"{files.where}: {name} is not valid JSON ({error}). Bring the file back.") from error


def _invalid(files: ModelFiles, error: ValueError) -> CpmnError:
    reason = "; ".join(str(error).splitlines()[:3])
    return CpmnError(f"{files.where} is not a valid decision file ({reason}). Run `snakemake --cores N` again.")
