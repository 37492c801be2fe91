"""Values at the locations of a layer, shown as an image.

There are two ways to place the value of a location in the image. Both keep the sum of the values.
  spread    The value is spread evenly over the location's receptive field (`ReceptiveFields.spread`), that is, over
            exactly the pixels that it depends on. The image of a deep layer is as coarse as its receptive fields.
  centred   The value is spread over the pixels that are closer to the centre of the location's receptive field than to
            any other centre. The image is sharper but does not show which pixels a value depends on.
"""

from __future__ import annotations

import numpy as np

from ildfv.train.receptive import ReceptiveFields


def centred(fields: ReceptiveFields, values: np.ndarray) -> np.ndarray:
    """The values of locations (m, h·w), placed around the centres of their receptive fields, (m, 224, 224)."""
    rows, columns = (_cells(axis) for axis in (fields.rows, fields.columns))
    planes = np.asarray(values, dtype=np.float64).reshape(len(values), rows.shape[0], columns.shape[0])
    return rows.T @ planes @ columns


def _cells(seen: np.ndarray) -> np.ndarray:
    """Along one axis, the fraction of each location's value at each pixel, (h, 224)."""
    pixels = np.arange(seen.shape[1])
    centres = seen @ pixels / seen.sum(axis=1)  # (h,)
    distance = np.abs(centres[:, None] - pixels)
    nearest = np.isclose(distance, distance.min(axis=0)) & seen  # (h, 224); pixels in no field stay empty
    for i in np.flatnonzero(~nearest.any(axis=1)):  # a location that is nearest to no pixel
        nearest[i, int(centres[i])] = True
    return nearest / nearest.sum(axis=1, keepdims=True)
