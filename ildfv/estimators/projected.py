"""Projection of rows on principal components, in array API code."""

from __future__ import annotations

import numpy as np

from ildfv.arrays import dtype_name, like

ROUNDING_SHARE = {"float32": 1e-12, "float64": 1e-16}  # share of the first variance that may be rounding error


def projected(x, mean: np.ndarray, components: np.ndarray, scale: np.ndarray | None = None):
    """Projections (m, c) of rows (m, d) of float32 or float64 on components (c, d), in the rows' library and dtype.

    mean: (d,), subtracted from the rows. scale: divisors (c,) of whitened projections, see `whitening`.
    """
    kind = dtype_name(x)
    # The mean is rounded to the dtype of the rows; `left` corrects the shift this causes far from zero.
    left = (mean.astype(kind) - mean) @ components.T  # (c,)
    found = (x - like(mean, x, kind)) @ like(components, x, kind).T + like(left, x, kind)
    return found if scale is None else found / like(scale, found, kind)


def whitening(variances: np.ndarray, components: np.ndarray, kind: str) -> np.ndarray:
    """Divisors (c,) of whitened projections; a lower bound keeps rounding errors from being amplified.

    variances: explained variances (c,). kind: dtype of the rows.
    """
    least = ROUNDING_SHARE["float32" if components.dtype == np.float32 else kind]
    first = variances[0]
    return np.sqrt(np.maximum(variances, least * first if first > 0 else 1.0))
