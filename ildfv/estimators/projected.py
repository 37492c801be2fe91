"""Projection of rows on principal components, in array API code."""

from __future__ import annotations

import numpy as np

from ildfv.arrays import dtype_name, like

ROUNDING_SHARE = {"float32": 1e-12, "float64": 1e-16}  # fraction of the first variance that may be a rounding error


def projected(x, mean: np.ndarray, components: np.ndarray, scale: np.ndarray | None = None):
    """Projections (m, c) of rows (m, d) of float32 or float64 on components (c, d), in the rows' library and dtype.

    mean: (d,), subtracted from the rows. scale: divisors (c,) of whitened projections, see `whitening`.
    """
    kind = dtype_name(x)
    # The mean is rounded to the dtype of the rows. The rounding error matters if the mean is far from zero.
    correction = (mean.astype(kind) - mean) @ components.T  # (c,)
    projections = (x - like(mean, x, kind)) @ like(components, x, kind).T + like(correction, x, kind)
    return projections if scale is None else projections / like(scale, projections, kind)


def whitening(variances: np.ndarray, components: np.ndarray, kind: str) -> np.ndarray:
    """Divisors (c,) of whitened projections; their lower bound prevents the amplification of rounding errors.

    variances: explained variances (c,). kind: dtype of the rows.
    """
    least = ROUNDING_SHARE["float32" if components.dtype == np.float32 else kind]
    first = variances[0]
    return np.sqrt(np.maximum(variances, least * first if first > 0 else 1.0))
