"""The exact contribution of every descriptor to a linear score of an improved Fisher vector.

Let x_i be the n descriptors of a slice, γ_ik their posteriors, t_ikd = (x_id − μ_kd)/σ_kd, and w_k the weights of the
mixture. Let r = (1/n) Σ_i φ(x_i) be the Fisher vector before normalisation. The improved vector is f_j = α_j r_j with
α_j = 1/(√|r_j| ‖√|r|‖). A score with the offset a and the coefficients g, a + g·f, is then a + (1/n) Σ_i q_i with
q_i = Σ_k γ_ik Σ_d (A_kd t_ikd + B_kd (t_ikd² − 1)). A = g α/√w uses the elements j of the first order, and
B = g α/√(2w) those of the second order. The sum over locations is exact although the normalisation is not linear,
because α is computed from the slice itself. If descriptors have weights, each term is multiplied by its weight, and n
is the sum of the weights.

Where the terms of descriptors cancel, r_j is near 0 and α_j is large. Element j then adds large values of both signs to
the map but little to the score. With a floor ε, α_j is 1/(√max(|r_j|, ε) ‖√|r|‖), and the difference from the score is
distributed over all descriptors, in proportion to their weights. The sum is still exact. `unlocated` returns the
distributed part. With a floor above all |r_j|, all elements have the same α, as without power normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ildfv.arrays import to_numpy
from ildfv.errors import check
from ildfv.estimators.fisher_vectors import FittedFisher
from ildfv.kernels import cpu
from ildfv.kernels.reference import MIN_NORM, MIN_WEIGHT


def contributions(
    fisher: FittedFisher,
    coefficients: np.ndarray,
    maps,
    weights=None,
    *,
    floor: float = 0.0,
    components: Sequence[int] | None = None,
) -> np.ndarray:
    """The contribution of every descriptor to each of C scores.

    Parameters
    ----------
    fisher : FisherVector
        A fitted encoder with order "component", power 0.5, no weight part and no intra-normalisation.
    coefficients : ndarray of shape (C, 2·k·d)
        The vector g of each score.
    maps : array of shape (b, n, d) or (b, d, h, w)
        The descriptors of b slices.
    weights : array of shape (b, n), optional
        Weight of each descriptor, as in `FisherVector.transform`.
    floor : float
        The floor ε of the module's docstring, see `floor_at`; 0 for no floor.
    components : sequence of int, optional
        Indices of the components whose contributions are summed; by default all.

    Returns
    -------
    ndarray of shape (b, n, C), float64
        The sum over n is the score minus its offset. With `components`, it is the sum of the parts that
        `component_scores` returns for these components.

    Raises
    ------
    InputError
        The encoder has other options, or the shape of `coefficients` is wrong.
    """
    maps = to_numpy(maps).astype(np.float64)  # α would amplify the float32 rounding errors of small moments
    slices = _moments(fisher, maps, weights)
    g = _by_component(fisher, coefficients, slices.raw.shape[1:])  # (1, C, k, 2, d)
    if components is not None:
        chosen = np.zeros(g.shape[2], bool)
        chosen[np.asarray(components, dtype=np.int64)] = True
        g = g * chosen[:, None, None]
    alpha, located = slices.alpha(fisher, 0.0), slices.alpha(fisher, floor)
    functional = g * (located * slices.scale / slices.total)[:, None]  # (b, C, k, 2, d)
    first, second = (np.ascontiguousarray(functional[:, :, :, i]) for i in (0, 1))
    found = np.stack(
        cpu.contributions(
            maps, *_parameters(fisher), first, second, threshold=fisher.threshold, descriptor_weights=weights
        )
    )
    if floor > 0:
        rest = (g * ((alpha - located) * slices.raw)[:, None]).sum(axis=(2, 3, 4))  # (b, C)
        share = np.full(found.shape[:2], 1.0) if weights is None else np.asarray(weights, dtype=np.float64)
        found += share[:, :, None] * (rest / slices.total[:, 0, 0, 0, None])[:, None]
    return found


def component_scores(fisher: FittedFisher, coefficients: np.ndarray, maps, weights=None) -> np.ndarray:
    """The part of each score that each component contributes, float64 (b, C, k). The sum over k is score − offset.

    Parameters
    ----------
    fisher, coefficients, maps, weights
        As for `contributions`.
    """
    slices = _moments(fisher, to_numpy(maps).astype(np.float64), weights)
    g = _by_component(fisher, coefficients, slices.raw.shape[1:])
    return (g * (slices.alpha(fisher, 0.0) * slices.raw)[:, None]).sum(axis=(3, 4))


def unlocated(fisher: FittedFisher, coefficients: np.ndarray, maps, weights=None, *, floor: float) -> np.ndarray:
    """The part of each score that a floor distributes over all descriptors, float64 (b, C).

    The parameters are described in `contributions`.
    """
    slices = _moments(fisher, to_numpy(maps).astype(np.float64), weights)
    g = _by_component(fisher, coefficients, slices.raw.shape[1:])
    change = (slices.alpha(fisher, 0.0) - slices.alpha(fisher, floor)) * slices.raw
    return (g * change[:, None]).sum(axis=(2, 3, 4))


def floor_at(fisher: FittedFisher, maps, weights=None, *, quantile: float) -> float:
    """A floor for `contributions`: the quantile of ``|r_j|`` over the slices of `maps` and all j.

    InputError: the quantile is not in [0, 1).
    """
    check(0 <= quantile < 1, f"quantile must be in [0, 1), got {quantile}")
    return float(np.quantile(raw_sizes(fisher, maps, weights), quantile))


def raw_sizes(fisher: FittedFisher, maps, weights=None) -> np.ndarray:
    """The absolute values |r_j| of each slice, float64 (b, 2·k·d)."""
    raw = _moments(fisher, to_numpy(maps).astype(np.float64), weights).raw
    return np.abs(raw).reshape(len(raw), -1)


@dataclass(frozen=True)
class _Slices:
    """The Fisher vectors of slices before normalisation.

    raw: r of each slice, (b, k, 2, d). scale: 1/√w and 1/√(2w), (k, 2, 1). total: sum of the descriptor weights of each
    slice, (b, 1, 1, 1).
    """

    raw: np.ndarray
    scale: np.ndarray
    total: np.ndarray

    def alpha(self, fisher: FittedFisher, floor: float) -> np.ndarray:
        """α, (b, k, 2, d): the factor by which power and L2 normalisation multiply each value of `raw`.

        It is 0 where `raw` is 0 and there is no floor. It is 1 for an encoder that is not improved.
        """
        if not fisher.improved:
            return np.ones_like(self.raw)
        size = np.abs(self.raw)
        norms = np.sqrt(size.sum(axis=(1, 2, 3), keepdims=True))  # norms of √|r|
        root = np.sqrt(np.maximum(size, floor))
        return np.divide(1.0, root, out=np.zeros_like(root), where=root > 0) / np.maximum(norms, MIN_NORM)


def _moments(fisher: FittedFisher, maps: np.ndarray, weights) -> _Slices:
    weighting, means, variances = _parameters(fisher)
    m = cpu.moments(maps, weighting, means, variances, threshold=fisher.threshold, descriptor_weights=weights)
    d = means.shape[1]
    totals = np.full(len(maps), float(maps.size // len(maps) // d)) if weights is None else np.asarray(weights).sum(1)
    total = np.where(totals > 0, totals, 1.0)[:, None, None, None]
    used = weighting >= MIN_WEIGHT
    root = np.where(used, 1 / np.sqrt(np.where(used, weighting, 1.0)), 0.0)[:, None, None]  # (k, 1, 1)
    scale = np.concatenate([root, root / np.sqrt(2)], axis=1)
    raw = np.stack([m.s1, m.s2 - m.s0[..., None]], axis=2) * scale / total
    return _Slices(raw, scale, total)


def _by_component(fisher: FittedFisher, coefficients: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The coefficients g, reshaped to (1, C, k, 2, d)."""
    plain = fisher.order == "component" and not fisher.weight_part
    got = f"order={fisher.order!r} and weight_part={fisher.weight_part}"
    check(plain, f"fisher must have order='component' and weight_part=False, got {got}")
    usual = fisher.power == 0.5 and not fisher.intra
    rule = "fisher must have power=0.5 and intra=False, so that contributions add up to the score"
    check(usual, f"{rule}, got power={fisher.power} and intra={fisher.intra}")
    expected = (len(coefficients), int(np.prod(shape)))
    check(coefficients.shape == expected, f"coefficients must have shape {expected}, got {coefficients.shape}")
    return coefficients.reshape(1, -1, *shape)


def _parameters(fisher: FittedFisher) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mixture = fisher.fitted_mixture()
    return mixture.weights_, mixture.means_, mixture.variances_
