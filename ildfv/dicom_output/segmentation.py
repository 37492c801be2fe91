"""Regions of the patterns as a DICOM Segmentation on the slices of the source."""

from __future__ import annotations

import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription

from ildfv.dicom_output import codes
from ildfv.dicom_output.origin import Origin
from ildfv.dicom_output.regions import RULE, regions

COLOURS = ((253, 174, 97), (230, 97, 1), (208, 28, 139), (94, 60, 153))  # RGB colours of the segments


def segmentation(origin: Origin) -> Segmentation | None:
    """A BINARY segmentation with a segment for each pattern that has a region; None if no pattern has a region.

    Frames without a pixel of a region are omitted. Each frame has the position, orientation and pixel order of its
    source image.
    """
    masks: list[np.ndarray] = []
    segments: list[SegmentDescription] = []
    for pattern, mask in zip(origin.prediction.patterns, regions(origin.prediction), strict=True):
        if mask.any():
            masks.append(origin.source.stored(mask))
            segments.append(_description(origin, len(segments) + 1, pattern))
    if not segments:
        return None
    return Segmentation(
        origin.source.images,
        np.stack(masks, axis=-1).astype(np.uint8),
        SegmentationTypeValues.BINARY,
        segments,
        **origin.common("segmentation", 1, "regions"),
        omit_empty_frames=True,
        content_label="REGIONS",
        content_description=f"Regions of evidence. {origin.use}"[:64],
    )


def _description(origin: Origin, number: int, pattern: str) -> SegmentDescription:
    head = origin.prediction.contributions_head
    assert head is not None  # because there are contributions
    red, green, blue = COLOURS[origin.prediction.patterns.index(pattern) % len(COLOURS)]
    return SegmentDescription(
        number,
        pattern,
        codes.MORPHOLOGY,
        codes.pattern_code(pattern),
        SegmentAlgorithmTypeValues.AUTOMATIC,
        origin.algorithm_item(head, region=RULE),
        tracking_uid=origin.identifiers.uid("segmentation", "region", pattern),
        tracking_id=f"ildfv region: {pattern}"[:64],
        anatomic_regions=[codes.LUNG],
        display_color=CIELabColor.from_rgb(red, green, blue),
    )
