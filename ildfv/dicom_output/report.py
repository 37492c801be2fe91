"""The prediction as a DICOM Structured Report: TID 1500 with measurements of the scan and of every image."""

from __future__ import annotations

import numpy as np
from highdicom.sr import (
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    SourceImageForMeasurementGroup,
    TrackingIdentifier,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes as dicom

from ildfv.dicom_output import codes
from ildfv.dicom_output.origin import MANUFACTURER, MODEL, Origin
from ildfv.dicom_output.sources import Instance
from ildfv.inference.prediction import HeadAnswer


def report(origin: Origin) -> ComprehensiveSR:
    """The report of the primary head: one group per labelled pattern for the scan, then one per pattern and image."""
    prediction, answer = origin.prediction, origin.prediction.head
    device = DeviceObserverIdentifyingAttributes(
        uid=origin.identifiers.uid("device"),
        name=MODEL,
        manufacturer_name=MANUFACTURER,
        model_name=MODEL,
        serial_number=origin.common("report", 1, "")["device_serial_number"],
    )
    labelled = np.flatnonzero(answer.labelled).tolist()  # a pattern without labels has no results
    groups = [_of_scan(origin, answer, c) for c in labelled]
    for z in range(len(prediction.positions)):
        groups += [_of_image(origin, answer, z, c) for c in labelled]
    content = MeasurementReport(
        ObservationContext(observer_device_context=ObserverContext(dicom.DCM.Device, device)),
        codes.CT_OF_CHEST,
        groups,
        title=dicom.DCM.ImagingMeasurementReport,
    )
    common = origin.common("report", 1, "report")
    return ComprehensiveSR(
        evidence=_evidence(origin),
        content=content[0],
        **common,
        is_complete=True,
        is_final=False,
        is_verified=False,
        coding_schemes=[codes.scheme_item()],
    )


def _of_scan(origin: Origin, answer: HeadAnswer, c: int) -> MeasurementsAndQualitativeEvaluations:
    shown = answer.presence[:, c]
    measured = [
        _measure(codes.SLICES, int(shown.sum()), codes.COUNT),
        _measure(codes.HIGHEST_PROBABILITY, answer.highest_probability(c), codes.RATIO),
        _measure(codes.TOTAL_AREA, answer.on_present_slices(answer.area, c), codes.CM2),
    ]
    best = origin.source.instances[origin.source.stored_index(int(answer.best[c]))]
    return _group(origin, answer, c, "scan", bool(answer.present[c]), measured, best)


def _of_image(origin: Origin, answer: HeadAnswer, z: int, c: int) -> MeasurementsAndQualitativeEvaluations:
    measured = [
        _measure(codes.SCORE, answer.scores[z, c], codes.SCORE_UNITS),
        _measure(codes.PROBABILITY, answer.probability[z, c], codes.RATIO),
        _measure(codes.AREA, answer.area[z, c], codes.CM2),
    ]
    image = origin.source.instances[origin.source.stored_index(z)]
    return _group(origin, answer, c, f"slice {z + 1}", bool(answer.presence[z, c]), measured, image)


def _group(
    origin: Origin, answer: HeadAnswer, c: int, what: str, present: bool, measured: list, image: Instance
) -> MeasurementsAndQualitativeEvaluations:
    """A measurement group. measured: contains None for undefined values. image: the image that the group refers to."""
    pattern, threshold = origin.prediction.patterns[c], answer.thresholds[c]
    rule = "no threshold" if threshold is None else f"present from score {threshold:.6g}"
    return MeasurementsAndQualitativeEvaluations(
        TrackingIdentifier(origin.identifiers.uid("report", pattern, what), f"{pattern}, {what}"),
        finding_type=codes.pattern_code(pattern),
        finding_category=codes.MORPHOLOGY,
        finding_sites=[FindingSite(codes.LUNG)],
        algorithm_id=origin.algorithm(answer.name, rule),
        measurements=[measurement for measurement in measured if measurement is not None],
        qualitative_evaluations=[
            QualitativeEvaluation(codes.PRESENCE, codes.PRESENT if present else codes.ABSENT),
        ],
        source_images=[
            SourceImageForMeasurementGroup(image.sop_class, image.uid, None if image.frame is None else [image.frame])
        ],
    )


def _measure(name, value: float, unit) -> Measurement | None:
    return Measurement(name, _decimal(value), unit) if np.isfinite(value) else None


def _decimal(value: float) -> float:
    """The value rounded so that it has at most 16 characters, the limit of a DICOM decimal string."""
    return float(f"{value:.9g}")


def _evidence(origin: Origin) -> list[Dataset]:
    """The headers of the source images, one per file, with their original UIDs."""
    headers = {}
    for image, instance in zip(origin.source.images, origin.source.instances, strict=True):
        if instance.uid not in headers:
            header = Dataset()
            header.update(dict(image.items()))
            header.SOPClassUID, header.SOPInstanceUID = instance.sop_class, instance.uid
            headers[instance.uid] = header
    return list(headers.values())
