"""Contribution maps of a pattern as a DICOM Parametric Map on the slices of the source."""

from __future__ import annotations

import numpy as np
from highdicom import VOILUTTransformation
from highdicom.pm import ParametricMap, RealWorldValueMapping

from ildfv.dicom_output import codes
from ildfv.dicom_output.origin import Origin
from ildfv.inference.outputs import to_scan_grid

MIDDLE, LARGEST = 1 << 15, (1 << 16) - 1  # stored value of a zero contribution, and the largest stored value
STEPS = LARGEST - MIDDLE  # the largest absolute contribution is stored as MIDDLE + STEPS or MIDDLE − STEPS


def parametric_map(origin: Origin, c: int) -> ParametricMap:
    """The map of pattern number c. Its real-world value is the contribution of each pixel to the score.

    The map is stored as 16-bit integers with a mapping, because most software cannot read floating-point pixels. A
    value is rounded by at most half a step, 1/65534 of the largest absolute contribution.
    """
    prediction = origin.prediction
    assert prediction.contributions is not None
    pattern = prediction.patterns[c]
    volume = to_scan_grid(prediction.contributions[:, c], prediction.shape, prediction.field).astype(np.float32)
    largest = float(np.abs(volume).max())
    slope = largest / STEPS if largest > 0 else 1.0
    stored = np.rint(volume / np.float32(slope)).clip(-STEPS, STEPS).astype(np.int32) + MIDDLE
    mapping = RealWorldValueMapping(
        lut_label="CONTRIBUTION",
        lut_explanation=f"Contribution to the score of {pattern}"[:64],
        unit=codes.SCORE_UNITS,
        value_range=(MIDDLE - STEPS, LARGEST),
        slope=slope,
        intercept=-MIDDLE * slope,
        quantity_definition=codes.CONTRIBUTION,
    )
    return ParametricMap(
        origin.source.images,
        origin.source.stored(stored.astype(np.uint16)),
        **origin.common("map", c + 1, f"evidence {pattern}"),
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[VOILUTTransformation(window_center=MIDDLE, window_width=2 * STEPS)],
        content_label="CONTRIBUTION",
        content_description=f"{pattern}. {origin.use}"[:64],
    )
