"""The reading as a DICOM structured report (TID 1500, Measurement Report): decision, figures of each mark, warnings."""

from collections.abc import Mapping
from typing import Any

import pydicom
from highdicom.sr import (
    AlgorithmIdentification,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    ReferencedSegment,
    RelationshipTypeValues,
    SourceSeriesForSegmentation,
    TextContentItem,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from highdicom.sr.coding import CodedConcept
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

import cpmn
from cpmn.dicom.scanfiles import ScanFiles
from cpmn.dicom.segmentation import CHARACTERS, NAME
from cpmn.predict import dicomnames as names

CT_CHEST = Code("24627-2", "LN", "CT Chest")
MILLILITRE = Code("mL", "UCUM", "milliliter")
SIDES = {"right": codes.SCT.Right, "left": codes.SCT.Left, "both": codes.SCT.RightAndLeft}
SITES = {"central": codes.SCT.Mediastinum, "outside": codes.SCT.Thorax}
"""Where a mark lies that is in no third of a lung."""


def report(scan: ScanFiles, segmentation: pydicom.Dataset, record: Mapping[str, Any]) -> Comprehensive3DSR:
    """A report that refers to the scan and to each mark's segment; `record` holds `prediction.json`."""
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=_observer(scan, record)),
        procedure_reported=CT_CHEST,
        imaging_measurements=[
            _whole(scan, record),
            *(_mark(scan, segmentation, record, lesion) for lesion in record["lesions"]),
        ],
        title=codes.DCM.ImagingMeasurementReport,
    )
    for text in [record["statement"], *(f"WARNING: {one}" for one in record["warnings"])]:
        content[0].ContentSequence.append(_comment(text))
    return Comprehensive3DSR(
        evidence=[segmentation, *scan.datasets],
        content=content[0],
        series_instance_uid=names.result_uid(scan.series, record, "report series"),
        series_number=names.SERIES_NUMBERS["report"],
        sop_instance_uid=names.result_uid(scan.content, record, "report"),
        instance_number=1,
        manufacturer=NAME,
        is_complete=True,
        series_description=names.title(record),
        manufacturer_model_name=NAME,
        software_versions=cpmn.__version__,
        specific_character_set=CHARACTERS,
    )


def _observer(scan: ScanFiles, record: Mapping[str, Any]) -> ObserverContext:
    return ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=names.result_uid(scan.series[:0], record, "device"),
            name=NAME,
            manufacturer_name=NAME,
            model_name=f"{record['model']['variant']} {cpmn.__version__}",
            serial_number=record["model"]["sha256"],
        ),
    )


def _whole(scan: ScanFiles, record: Mapping[str, Any]) -> MeasurementsAndQualitativeEvaluations:
    """Decision and figures of the whole scan."""
    found = codes.SCT.PulmonaryEmbolism if record["positive"] else names.own_code(names.label(record), _spoken(record))
    figures = {
        ("probability", "Probability of pulmonary embolism"): record["probability"]["value"],
        ("score", "Score"): record["score"],
        ("threshold", "Threshold of the score"): record["threshold"]["value"],
    }
    measured = [_figure(names.own_code(*name), value) for name, value in figures.items() if value is not None]
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(names.result_uid(scan.content, record, "whole"), f"{NAME} scan"),
        algorithm_id=_algorithm(),
        measurements=[*measured, _figure(codes.SCT.Volume, record["volume_ml"], MILLILITRE)],
        qualitative_evaluations=[QualitativeEvaluation(names.own_code("decision", "Decision"), found)],
    )


def _spoken(record: Mapping[str, Any]) -> str:
    return "No pulmonary embolism" if record["decision"] == "no PE" else str(record["decision"])


def _mark(
    scan: ScanFiles, segmentation: pydicom.Dataset, record: Mapping[str, Any], lesion: Mapping[str, Any]
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    number = lesion["number"]
    density = codes.DCM.AttenuationCoefficient
    measured = [
        _figure(codes.SCT.Volume, lesion["volume_ml"], MILLILITRE),
        _figure(codes.SCT.LongAxis, lesion["longest_mm"], codes.UCUM.Millimeter),
        _figure(density, lesion["mean_hu"], codes.UCUM.HounsfieldUnit, derivation=codes.SCT.Mean),
        _figure(names.own_code("confidence", "Confidence (mean probability)"), lesion["confidence"]),
    ]
    if lesion["contrast_hu"] is not None:
        above = names.own_code("contrast", "Mean attenuation above blood")
        measured.append(_figure(above, lesion["contrast_hu"], codes.UCUM.HounsfieldUnit))
    region = names.own_code(lesion["region"].replace(" ", "-"), lesion["region"])
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            names.result_uid(scan.content, record, f"mark {number}"), f"{NAME} mark {number}"
        ),
        referenced_segment=ReferencedSegment(
            *(segmentation.SOPClassUID, segmentation.SOPInstanceUID, number),
            source_series=SourceSeriesForSegmentation(scan.series[0]),
        ),
        finding_type=names.mark_type(record),
        algorithm_id=_algorithm(),
        finding_sites=[FindingSite(SITES.get(lesion["region"], codes.SCT.Lung), laterality=SIDES[lesion["side"]])],
        measurements=measured,
        qualitative_evaluations=[QualitativeEvaluation(names.own_code("region", "Region"), region)],
    )


def _figure(
    name: CodedConcept | Code, value: float, unit: Code = codes.UCUM.NoUnits, derivation: Code | None = None
) -> Measurement:
    return Measurement(name=name, value=float(f"{value:.6g}"), unit=unit, derivation=derivation)


def _algorithm() -> AlgorithmIdentification:
    return AlgorithmIdentification(name=NAME, version=cpmn.__version__)


def _comment(text: str) -> TextContentItem:
    return TextContentItem(name=codes.DCM.Comment, value=text, relationship_type=RelationshipTypeValues.CONTAINS)
