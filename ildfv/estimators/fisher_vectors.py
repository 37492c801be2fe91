"""Fisher vectors from moments, and their normalisation, in array API code."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ildfv import kernels
from ildfv.arrays import like, namespace
from ildfv.errors import check
from ildfv.estimators.kernel_maps import arrays_and_weights, descriptor_counts
from ildfv.estimators.normalise import blocks_to_unit, rooted, unit
from ildfv.kernels import Moments, on_gpu
from ildfv.kernels.cuda import build, fisher
from ildfv.kernels.cuda.oom import OomRetry
from ildfv.kernels.reference import MIN_WEIGHT
from ildfv.weighted import split

MAX_LOG_LIKELIHOOD = 1e36  # nats, absolute; squares of t overflow at 3e38 in float32


class FittedMixture(Protocol):
    """A GaussianMixture, or any object with its parameters."""

    @property
    def weights_(self) -> Any: ...
    @property
    def means_(self) -> Any: ...
    @property
    def variances_(self) -> Any: ...


class Settings(Protocol):
    """The settings of a `FisherVector`."""

    @property
    def improved(self) -> bool: ...
    @property
    def order(self) -> str: ...
    @property
    def weight_part(self) -> bool: ...
    @property
    def threshold(self) -> float: ...
    @property
    def power(self) -> float: ...
    @property
    def intra(self) -> bool: ...


class FittedFisher(Settings, Protocol):
    """A fitted `FisherVector`, or a `FixedFisher`."""

    def fitted_mixture(self) -> FittedMixture: ...


def fisher_vectors(maps: Any, mixture: FittedMixture, settings: Settings) -> Any:
    """Fisher vectors of maps in the layouts of `as_descriptors`, which may be `Weighted`.

    If GPU memory runs out, the batch size is halved.
    """
    counts = descriptor_counts(maps)
    first, _ = split(maps[0] if isinstance(maps, list) else maps)
    if on_gpu(first):
        return OomRetry(lambda some: _fisher_vectors(some, descriptor_counts(some), mixture, settings)).joined(maps)
    return _fisher_vectors(maps, counts, mixture, settings)


def _fisher_vectors(maps, counts: np.ndarray, mixture: FittedMixture, settings: Settings):
    names = ("improved", "order", "weight_part")
    options: dict[str, Any] = {name: getattr(settings, name) for name in names}
    usual = settings.power == 0.5 and not settings.intra  # the normalisation that the kernels compute
    arrays, weights = arrays_and_weights(maps)
    if usual and not on_gpu(arrays[0]):
        found, log_likelihood = kernels.fisher_vectors(
            arrays, mixture, weights=weights, threshold=settings.threshold, **options
        )
        _check_within_range(log_likelihood)
        return found
    m = kernels.moments(arrays, mixture, weights=weights, threshold=settings.threshold)
    _check_within_range(m.log_likelihood)
    make = fisher.vectors if usual and build.available() else vectors
    if not usual:
        options |= {"power": settings.power, "intra": settings.intra}
    return make(m, counts, np.asarray(mixture.weights_, dtype=np.float64), **options)


def _check_within_range(log_likelihoods) -> None:
    """Raises InputError for float32 maps so far from the mixture that sums of t² overflow, which would give NaN."""
    xp = namespace(log_likelihoods)  # (b,), each at least −½ of those sums
    far = "float32" in str(log_likelihoods.dtype) and not bool(xp.all(xp.abs(log_likelihoods) < MAX_LOG_LIKELIHOOD))
    check(not far, "float32 maps must be within 1e18 standard deviations of the mixture: pass float64")


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

    counts (b,): number of descriptors of each map, or the sum of their weights. weights: of the mixture, (k,).
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
