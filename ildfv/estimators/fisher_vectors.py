"""Fisher vectors from moments, and their normalisation, in array API code."""

from __future__ import annotations

import numpy as np

from ildfv.arrays import like, namespace
from ildfv.errors import check
from ildfv.estimators.normalise import blocks_to_unit, rooted, unit
from ildfv.kernels import Moments
from ildfv.kernels.reference import MIN_WEIGHT


def negate_sigma_part(vectors, n_components: int):
    """Vectors converted to scikit-image's sign convention, or from it: only the signs of the last k·d values change.

    Parameters
    ----------
    vectors : array of shape (b, 2·k·d + k)
        From FisherVector(order="moment", weight_part=True) or from scikit-image's `fisher_vector`.
    n_components : int
        k.

    Returns
    -------
    array of shape (b, 2·k·d + k)
    """
    k, length = n_components, vectors.shape[-1]
    check(
        vectors.ndim == 2 and length > k and (length - k) % (2 * k) == 0,
        f"vectors must have shape (b, 2·k·d + k) with k = {k}, got {tuple(vectors.shape)}",
    )
    first = k + (length - k) // 2
    return namespace(vectors).concat([vectors[:, :first], -vectors[:, first:]], axis=1)


def vectors(
    m: Moments,
    counts,
    weights,
    *,
    improved: bool = True,
    order: str = "component",
    weight_part: bool = False,
    power: float = 0.5,
    intra: bool = False,
):
    """Fisher vectors (b, 2·k·d), or (b, 2·k·d + k) with the weight part, from the moments of b maps.

    counts (b,): number of descriptors of each map, or the sum of their weights. weights (k,): those of the mixture.
    improved: whether to apply the signed power, then scale to unit L2 norm. intra: whether to scale each component to
    unit norm after the power. The CUDA version is `ildfv.kernels.cuda.fisher.vectors`.
    """
    used = weights >= MIN_WEIGHT
    total = counts
    counts = np.where(counts > 0, counts, 1.0)  # the sums are 0 if all weights of a map are 0
    scale = np.where(used, 1 / np.sqrt(np.where(used, weights, 1.0)), 0.0) / counts[:, None]  # (b, k)
    kind = "float64" if "float64" in str(m.s1.dtype) else "float32"
    s0 = m.s0[:, :, None]
    first = like(scale[:, :, None], m.s1, kind)  # (b, k, 1)
    parts = [m.s1 * first, (m.s2 - s0) * (first / 2**0.5)]
    if weight_part:
        expected = like((total[:, None] * weights)[:, :, None], m.s1, kind)
        parts.insert(0, (s0 - expected) * first)
    if not improved:
        return concatenated(parts, order)
    if intra:
        return unit(concatenated(blocks_to_unit([rooted(part, power) for part in parts]), order))
    return unit(rooted(concatenated(parts, order), power))


def concatenated(parts: list, order: str):
    """Parts (b, k, ·) concatenated by component or by moment."""
    xp = namespace(*parts)
    b = parts[0].shape[0]
    if order == "component":
        return xp.reshape(xp.concat(parts, axis=2), (b, -1))
    return xp.concat([xp.reshape(part, (b, -1)) for part in parts], axis=1)
