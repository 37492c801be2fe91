"""Values of a layer's locations as an image.

Two placements keep the sum of the values:
  spread    a location's value evenly over its receptive field (`ReceptiveFields.spread`): every pixel that it depends
            on and no other, so the image of a deep layer is as coarse as its fields
  centred   over the pixels that are closer to the centre of its receptive field than to any other: a sharper picture
            that does not show what a value depends on
"""

from __future__ import annotations

import numpy as np

from ildfv.train.receptive import ReceptiveFields


def centred(fields: ReceptiveFields, values: np.ndarray) -> np.ndarray:
    """Values of locations (m, h·w) on the pixels around the centres of their receptive fields, (m, 224, 224)."""
    rows, columns = (_cells(axis) for axis in (fields.rows, fields.columns))
    planes = np.asarray(values, dtype=np.float64).reshape(len(values), rows.shape[0], columns.shape[0])
    return rows.T @ planes @ columns


def _cells(seen: np.ndarray) -> np.ndarray:
    """The share of each location's value at each pixel of an axis, (h, 224); equal for equal centres."""
    pixels = np.arange(seen.shape[1])
    centres = seen @ pixels / seen.sum(axis=1)  # (h,)
    distance = np.abs(centres[:, None] - pixels)
    nearest = np.isclose(distance, distance.min(axis=0)) & seen  # (h, 224); pixels in no field stay empty
    for i in np.flatnonzero(~nearest.any(axis=1)):  # closer to no pixel than another location: the one below its centre
        nearest[i, int(centres[i])] = True
    return nearest / nearest.sum(axis=1, keepdims=True)
