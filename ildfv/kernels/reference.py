"""The specification of the kernels: NumPy, float64, one formula per line.

It is written for clarity, not for speed. All other backends are tested against it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = Any  # an array of the same library as the maps: NumPy, torch, CuPy, …
MIN_WEIGHT = 1e-6  # components of lower weight give zeros, as in VLFeat: 1/√w would only amplify noise
MIN_NORM = 1e-12  # vectors of lower norm are divided by this value, so that a zero vector stays zero
MIN_MASS = 0.1  # components whose posteriors have a lower sum count as empty: their variance cannot be estimated


class Moments(NamedTuple):
    """Sums over descriptors of posterior × (1, t, t²), t = (x − mean)/sd, and of the log likelihood.

    Per map: s0 (b, k), s1 (b, k, d), s2 (b, k, d), log_likelihood (b,). Pooled over the maps: (k,), (k, d), (k, d) and
    ().
    """

    s0: Array
    s1: Array
    s2: Array
    log_likelihood: Array


def scores(x, weights, means, variances):
    """log w_k + log N(x | mean_k, variance_k), shape (n, k)."""
    t = (x[:, None, :] - means) / np.sqrt(variances)  # (n, k, d)
    d = x.shape[1]
    constant = np.log(weights) - 0.5 * (d * np.log(2 * np.pi) + np.log(variances).sum(axis=1))  # (k,)
    return constant - 0.5 * (t * t).sum(axis=2)


def posteriors(x, weights, means, variances):
    """Posteriors, shape (n, k), and the log likelihood of each descriptor, shape (n,)."""
    s = scores(x, weights, means, variances)
    top = s.max(axis=1, keepdims=True)
    log_likelihood = top[:, 0] + np.log(np.exp(s - top).sum(axis=1))
    return np.exp(s - log_likelihood[:, None]), log_likelihood


def moments(maps, weights, means, variances, *, threshold=1e-6, pooled=False, descriptor_weights=None):
    """Moments of each map in float64.

    maps: (b, n, d), or channel-first (b, d, h, w), or a list of (n_i, d). Posteriors below `threshold` are set to 0
    (without renormalisation, as in VLFeat); the log likelihood always counts all components.
    descriptor_weights: (b, n), or a list of (n_i,): weight of each descriptor in all sums. Descriptors of weight 0 are
    ignored; a map whose weights are all 0 has sums of 0.
    """
    weights, means, variances = (np.asarray(a, dtype=np.float64) for a in (weights, means, variances))
    per_map = []
    for i, x in enumerate(_descriptors(maps)):
        x = np.asarray(x, dtype=np.float64)  # (n, d)
        omega = np.ones(len(x)) if descriptor_weights is None else np.asarray(descriptor_weights[i], np.float64)  # (n,)
        x, omega = x[omega > 0], omega[omega > 0]
        s0 = np.zeros(len(weights))
        s1, s2 = np.zeros_like(means), np.zeros_like(means)
        total = 0.0
        for start in range(0, len(x), 1024):  # in blocks, as (n, k, d) may not fit in memory
            block = x[start : start + 1024]
            gamma, log_likelihood = posteriors(block, weights, means, variances)  # (n, k), (n,)
            share = omega[start : start + 1024]
            gamma = np.where(gamma >= threshold, gamma, 0.0) * share[:, None]
            t = (block[:, None, :] - means) / np.sqrt(variances)  # (n, k, d)
            s0 += gamma.sum(axis=0)
            s1 += np.einsum("nk,nkd->kd", gamma, t)
            s2 += np.einsum("nk,nkd->kd", gamma, t * t)
            total += share @ log_likelihood
        per_map.append((s0, s1, s2, total))
    stacked = Moments(*(np.array(column) for column in zip(*per_map, strict=True)))
    return Moments(*(column.sum(axis=0) for column in stacked)) if pooled else stacked


def contributions(maps, weights, means, variances, first, second, *, threshold=1e-6, descriptor_weights=None):
    """Contribution of every descriptor to C linear functionals of its map's moments, float64 (n, C) for each map.

    first, second: (C, k, d) for all maps, or (b, C, k, d). Other arguments: as in `moments`. The sum of the
    contributions over a map's descriptors is Σ_kd (first · s1 + second · (s2 − s0)).
    """
    weights, means, variances = (np.asarray(a, dtype=np.float64) for a in (weights, means, variances))
    results = []
    for i, x in enumerate(_descriptors(maps)):
        x = np.asarray(x, dtype=np.float64)  # (n, d)
        omega = np.ones(len(x)) if descriptor_weights is None else np.asarray(descriptor_weights[i], np.float64)  # (n,)
        a, b = (np.asarray(f, np.float64)[i] if np.ndim(f) == 4 else np.asarray(f, np.float64) for f in (first, second))
        x = np.where(omega[:, None] > 0, x, means[0])  # a descriptor of weight 0 may contain NaN
        gamma, _ = posteriors(x, weights, means, variances)  # (n, k)
        gamma = np.where(gamma >= threshold, gamma, 0.0) * omega[:, None]
        t = (x[:, None, :] - means) / np.sqrt(variances)  # (n, k, d)
        results.append(np.einsum("nk,nkd,ckd->nc", gamma, t, a) + np.einsum("nk,nkd,ckd->nc", gamma, t * t - 1, b))
    return results


def _descriptors(maps):
    """Each map as (n, d)."""
    if isinstance(maps, (list, tuple)) or maps.ndim == 3:
        return list(maps)
    b, d, h, w = maps.shape
    return list(np.moveaxis(maps.reshape(b, d, h * w), 1, 2))


def vectors(m, counts, weights, *, improved=True, order="component", weight_part=False):
    """Fisher vectors (b, 2·k·d), or (b, 2·k·d + k) with the weight part, of moments of b maps, in float64.

    counts (b,): number of descriptors n of each map, or the sum of their weights; not 0. weights (k,): of the mixture.
    improved: whether to take signed square roots, then scale each vector to unit L2 norm. order: "component" is the
    paper's Eq. 4, [u_1, v_1, …]; "moment" is all u, then all v. weight_part: whether to include the derivative with
    respect to the mixture weights, p = (s0 − n w)/(n √w), before u: [p_1, u_1, v_1, …], or all p, all u, all v.
    """
    s0, s1, s2, n, w = (np.asarray(a, dtype=np.float64) for a in (*m[:3], counts, weights))
    root = np.sqrt(w)
    with np.errstate(divide="ignore", invalid="ignore"):
        u = s1 / (n[:, None, None] * root[:, None])  # (b, k, d)
        v = (s2 - s0[:, :, None]) / (n[:, None, None] * np.sqrt(2 * w)[:, None])
        p = (s0 - n[:, None] * w)[:, :, None] / (n[:, None] * root)[:, :, None]  # (b, k, 1)
    parts = [np.where(w[:, None] >= MIN_WEIGHT, part, 0.0) for part in ([p, u, v] if weight_part else [u, v])]
    b = len(n)
    if order == "component":
        whole = np.concatenate(parts, axis=2).reshape(b, -1)
    else:
        whole = np.concatenate([part.reshape(b, -1) for part in parts], axis=1)
    if not improved:
        return whole
    rooted = np.sign(whole) * np.sqrt(np.abs(whole))
    return rooted / np.maximum(np.linalg.norm(rooted, axis=1, keepdims=True), MIN_NORM)


def m_step(s0, s1, s2, weights, means, variances, *, inertia=0.0):
    """Masses (k,), means (k, d) and variances (k, d) of maximum likelihood, from the moments at the given parameters.

    A mass is the sum of a component's posteriors. s0 (k,), s1 (k, d), s2 (k, d): pooled moments. inertia: the given
    parameters count as this many additional descriptors. Sums are divided by at least MIN_MASS.
    """
    masses = s0 + inertia * weights
    divisor = np.maximum(masses, MIN_MASS)[:, None]
    shift = s1 / divisor  # (k, d), in standard deviations
    spread = (s2 + (inertia * weights)[:, None]) / divisor - shift**2
    return masses, means + np.sqrt(variances) * shift, variances * spread
