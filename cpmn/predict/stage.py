"""Read one new patient's non-contrast CT with the models and the decision of a finished run."""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import SimpleITK as sitk

from cpmn.anatomy.lungbox import find_box, touched_sides
from cpmn.checks.finding import Finding, settle, warnings_of
from cpmn.checks.scan import check_scan
from cpmn.config.crop import CropConfig
from cpmn.dicom.archive import files_there
from cpmn.dicom.references import References
from cpmn.dicom.scan import read_scan
from cpmn.errors import CpmnError, PatientError
from cpmn.files import files_of, read_json, sha256_of_json, write_json
from cpmn.model.ensemble import Reading, on_native, read_crop, stored_map
from cpmn.model.indeterminate import reasons
from cpmn.model.package import STATEMENT
from cpmn.predict.failure import failure_recorded, now
from cpmn.predict.lesions import describe_lesions, ordered_lesions
from cpmn.predict.model import Model, load_model
from cpmn.predict.overview import write_overview
from cpmn.predict.record import SCHEMA_VERSION, PredictionRecord
from cpmn.predict.viewer import write_viewer
from cpmn.scoring.agreement import mark_lesions
from cpmn.scoring.decision import Decision, is_positive, patient_score
from cpmn.volume.box import box_of, crop_image
from cpmn.volume.images import image_like, voxel_ml, write_image

logger = logging.getLogger(__name__)

# prediction.json first: where it is, the others but the DICOM files are complete and of the same scan.
OUTPUTS = ("prediction.json", "prediction.nii.gz", "probability.nii.gz", "cam.nii.gz", "overview.png", "viewer.html")
DICOM_OUTPUTS = ("prediction.dcm", "report.dcm", "overview.dcm")
FAILURE = "error.json"
SCAN_FACTS = ("source_sha256", "series", "chosen_because", "rejected", "repaired")
Scan = tuple[sitk.Image, dict[str, Any]]


class _Found(NamedTuple):
    """What the networks saw in a scan; arrays (z, y, x) and images are on its grid, but for the `crop`."""

    native: sitk.Image
    crop: sitk.Image
    lungs: sitk.Image
    reading: Reading
    probability: np.ndarray
    cam: np.ndarray
    labels: np.ndarray


def predict_series(
    source: Path,
    *,
    output: Path,
    model: Model | Path | str | None = None,
    results: Path | None = None,
    variant: str = "cpmn",
    series_uid: str = "",
    device: str = "auto",
    dicom: bool = False,
    identity: bool = False,
    overrule: Collection[str] = (),
    scan: Callable[[], Scan] | None = None,
) -> dict[str, Any]:
    """Convert, crop, predict and decide; write the maps, prediction.json, overview.png and viewer.html.

    With `dicom` also {prediction,report,overview}.dcm, as `cpmn.predict.dicomfiles.write_dicom` does.

    Parameters
    ----------
    source : folder or .zip of DICOM files, or one image file in HU; `series_uid` chooses where it holds several series.
    model : a model that was loaded (then `variant` and `device` say nothing), or what `load_model` takes.
    results : results folder of a finished run, where no model is named; of it `variant` is taken.
    identity : whether the DICOM files, alone of all, name the patient as the series does.
    overrule : names of checks (docs/reference/checks.md) whose refusal becomes a warning.
    scan : gives what `convert_series` makes of `source`, where that is on its way already; None converts it here.
    output : folder to write to. The maps lie on the native grid: prediction uint8 0/1, the others float32 0-1.

    Returns
    -------
    Contents of `prediction.json` (`cpmn.predict.record.PredictionRecord`): decision, probability, score, threshold,
    lesions, and warnings of what makes the result doubtful (contrast medium, lungs cut by the scan, lossy compression).

    Raises
    ------
    CpmnError if there is no trained model of that variant, if it is not what was sealed (`cpmn.model.seal`), if its
    output is not a number, if `output` is a file or holds `source`, or if DICOM files are asked for and the scan's
    tags do not allow them (the other files are there then); PatientError for a scan that cannot be read. What is wrong
    with the scan is written to error.json too.
    """
    source, output = Path(source), Path(output)
    if not isinstance(model, Model):
        model = load_model(results or "results" if model is None else model, variant, device)
    _clear(output, source)
    with failure_recorded(output / FAILURE, STATEMENT, source):
        return _read_series(
            *(source, series_uid, model, output),
            dicom=dicom,
            identity=identity,
            overrule=overrule,
            scan=scan,
        )


def _read_series(
    source: Path,
    series_uid: str,
    model: Model,
    output: Path,
    *,
    dicom: bool,
    identity: bool,
    overrule: Collection[str],
    scan: Callable[[], Scan] | None,
) -> dict[str, Any]:
    """Read one scan and write all of `predict_series`."""
    began = time.perf_counter()
    native, facts = scan() if scan else convert_series(source, model, series_uid)
    request = request_key(source, series_uid, {"dicom": dicom, "identity": identity, "overrule": overrule})
    findings = _settled(native, facts, overrule)
    converted = time.perf_counter()
    if dicom and facts["series"] is None:
        raise CpmnError(f"--dicom needs a DICOM series to refer to, and {source} is an image file. Leave it out.")
    found = _find(native, model)
    read = time.perf_counter()
    logger.info("read by %d network(s) in %.1f s", len(model.networks), read - converted)
    _write_maps(output, found)
    record = _record(model, found, facts, findings) | {"request": request}
    write_overview(output / "overview.png", native, found.crop, found.labels, found.cam, record)
    write_viewer(output / "viewer.html", native, found.crop, found.labels, found.probability, found.cam, record)
    times = {"finished_at": now(), "convert_s": converted - began, "network_s": read - converted}
    record |= {"times": times | {"total_s": time.perf_counter() - began}}
    write_json(output / "prediction.json", PredictionRecord.model_validate(record).model_dump(mode="json"))
    record = read_json(output / "prediction.json")
    if dicom:
        from cpmn.predict.dicomfiles import write_dicom  # loads highdicom, which nothing else needs

        marks = image_like(found.labels.astype(np.uint16), native)
        write_dicom(output, marks, source, facts["series"], model.decision.convert, record, identity=identity)
    return record


def _find(native: sitk.Image, model: Model) -> _Found:
    decision = model.decision
    crop, lungs = crop_lungs(native, decision.crop)
    reading = read_crop(model.networks, crop, decision, crop_image(lungs, box_of(crop, native)))
    probability, cam = on_native(reading.probability, crop, native), on_native(reading.cam, crop, native)
    marks = mark_lesions(probability, native, decision.segmentation_threshold, decision.minimum_lesion_mm3)
    return _Found(native, crop, lungs, reading, probability, cam, ordered_lesions(marks))


def _write_maps(output: Path, found: _Found) -> None:
    mask = image_like((found.labels != 0).astype(np.uint8), found.native)
    write_image(mask, output / "prediction.nii.gz")
    write_image(stored_map(found.probability, found.native), output / "probability.nii.gz")
    write_image(stored_map(found.cam, found.native), output / "cam.nii.gz")


def _record(model: Model, found: _Found, facts: dict[str, Any], findings: list[Finding]) -> dict[str, Any]:
    """All of prediction.json but the times."""
    decision, labels = model.decision, found.labels
    references, cut = facts["identity"].references, touched_sides(found.lungs)
    score = patient_score(found.reading.features, decision)
    plans = [network.plan for network in model.networks.values()]
    marks, positive = int(labels.max(initial=0)), is_positive(score, decision)
    why = list(reasons(decision, plans, facts, found.crop, cut, marks, positive).values())
    warnings = [
        *model.warnings,
        *facts["warnings"],
        *warnings_of(findings),
        *([f"the scan cuts the lungs ({', '.join(cut)})"] if cut else []),
    ]
    return _decided(found.reading, decision, score, why) | {
        "volume_ml": float((labels != 0).sum()) * voxel_ml(found.native),
        "lesions": describe_lesions(labels, found.probability, found.native, found.lungs, references),
        "warnings": list(dict.fromkeys([*warnings, *why])),
        "checks": [finding.to_json() for finding in findings],
        "scan": {key: facts.get(key) for key in SCAN_FACTS} | _uids(references),
        "model": model.facts,
    }


def convert_series(source: Path, model: Model, series_uid: str = "") -> Scan:
    """The scan and its facts as `read_scan` gives them; remedies that name settings say where these stand."""
    config = model.decision.convert
    try:
        return read_scan(source, patient=source.name, phase="nct", series_uid=series_uid, config=config)
    except PatientError as error:
        if "convert." not in error.remedy:
            raise
        remedy = f"{error.remedy} Settings of this model's `convert` stand in {model.where}."
        raise PatientError(error.patient, error.problem, remedy, error.file) from error


def request_key(source: Path, series_uid: str, options: Mapping[str, Any]) -> str:
    """Hash of what a call asks for: the files of `source` by size and date, since names may name the patient, the
    series, and the options `dicom`, `identity` and `overrule`.

    Raises OSError for a source that is not there.
    """
    files = files_there(source) if source.is_dir() else files_of(source)
    stats = sorted((one.st_size, one.st_mtime_ns) for one in (path.stat() for path in files))
    flags = [bool(options.get("dicom")), bool(options.get("identity")), sorted(options.get("overrule") or ())]
    return sha256_of_json([stats, series_uid, *flags])


def _settled(native: sitk.Image, facts: dict[str, Any], overrule: Collection[str]) -> list[Finding]:
    """What the checks of a scan found. Raises CpmnError (Refused) for what is refused and not overruled.

    Contrast medium is not refused here: the scan is read, and the warning stands in all that is written.
    """
    return settle(check_scan(native, facts, "nct"), {"contrast", *overrule})


def crop_lungs(nct: sitk.Image, config: CropConfig) -> tuple[sitk.Image, sitk.Image]:
    """The lung box of an NCT in HU (LPS), as the stage `crop` cuts it, and the lung mask on the grid of the NCT.

    Raises CpmnError if there are no lungs.
    """
    box, lungs, _ = find_box(nct, config)
    return crop_image(nct, box), lungs


def _clear(output: Path, source: Path) -> None:
    """Remove what an earlier call wrote: nothing of two patients may ever lie side by side, nor be taken for another's.

    Raises CpmnError if `output` is a file, or if `source` is among what would be removed.
    """
    if output.is_file():
        raise CpmnError(f"{output} is a file. Give a folder to write to.")
    if source.resolve() in {output.resolve(), *((output / name).resolve() for name in (*OUTPUTS, *DICOM_OUTPUTS))}:
        raise CpmnError(f"{source} lies where earlier results are removed. Give another folder with -o.")
    for name in (*OUTPUTS, *DICOM_OUTPUTS, FAILURE):
        (output / name).unlink(missing_ok=True)


def _decided(reading: Reading, decision: Decision, score: float, why: list[str]) -> dict[str, Any]:
    """The decision; where there are reasons (`why`) not to speak it is indeterminate."""
    positive = is_positive(score, decision)
    return {
        "schema_version": SCHEMA_VERSION,
        "statement": STATEMENT,
        "probability": _probability(reading, decision, why),
        "score": score,
        "score_rule": decision.combination.rule,
        "threshold": decision.threshold.model_dump(),
        "decision": "indeterminate" if why else {True: "PE", False: "no PE", None: "none: no threshold"}[positive],
        "reasons": why,
        "positive": None if why else positive,
        "class_probability": reading.class_probability,
    }


def _probability(reading: Reading, decision: Decision, why: list[str]) -> dict[str, Any]:
    """The score where it is a probability, and what each fold alone would say."""
    if why or not decision.combination.logistic:
        reason = "indeterminate" if why else "the score is no probability: " + decision.combination.rule
        return {"value": None, "low": None, "high": None, "reason": reason}
    alone = [patient_score({fold: features}, decision) for fold, features in reading.features.items()]
    low, high = (min(alone), max(alone)) if len(alone) > 1 else (None, None)
    return {"value": patient_score(reading.features, decision), "low": low, "high": high, "reason": ""}


def _uids(references: References | None) -> dict[str, Any]:
    """UIDs for the record; none of an image file."""
    if references is None:
        empty = {"study_instance_uid": None, "frame_of_reference_uid": None}
        return empty | {"series_instance_uids": [], "sop_instance_uids": []}
    return {
        "study_instance_uid": references.study or None,
        "series_instance_uids": list(references.series),
        "frame_of_reference_uid": references.frame_of_reference or None,
        "sop_instance_uids": list(dict.fromkeys(one.sop_instance_uid for one in references.slices)),
    }
