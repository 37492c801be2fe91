"""The lung masks of stored slices, for a predictor that is applied to the slices of a workspace."""

from __future__ import annotations

import numpy as np

from ildfv.datasets.slice_store import SIZE, Slices
from ildfv.scans.prepared_lungs import lungs


def stored_lung(slices: Slices, rows: np.ndarray) -> np.ndarray | None:
    """Lung masks of slices, bool (m, 224, 224); None if no scan has stored masks.

    For scans without stored masks, the built-in rule finds the lung. rows: indices of the slices, (m,).
    """
    if slices.stored_lung_masks == 0:
        return None
    rows = np.asarray(rows)
    of = np.searchsorted(slices.starts, rows, side="right") - 1
    found = np.empty((len(rows), SIZE, SIZE), bool)
    for part in np.unique(of):
        here = np.flatnonzero(of == part)
        packed = slices.lung_masks(int(part))
        if packed is None:
            found[here] = lungs(slices, rows[here])
        else:
            bits = packed[rows[here] - slices.starts[part]]
            found[here] = np.unpackbits(bits, axis=1).reshape(-1, SIZE, SIZE)
    return found
