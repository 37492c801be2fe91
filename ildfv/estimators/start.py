"""Starting values of EM: the weights, means and variances of k-means clusters of a sample."""

from __future__ import annotations

import numpy as np

from ildfv.errors import InputError, check, require
from ildfv.estimators.em import Parameters
from ildfv.estimators.seeding import kmeans_plusplus
from ildfv.weighted import Weighted, split

INITS = ("k-means", "k-means++", "faiss")
LLOYD_STEPS = 10  # further steps cost more than the EM passes that they save
BLOCK = 2048  # descriptors assigned at a time: distances to 32 centres stay in the cache, twice as fast as all at once
SAMPLE_VALUES = 1 << 24  # maximum number of values in a sample (64 MB of float32)
SAMPLE_ROWS = 1 << 15  # maximum number of descriptors in a sample: 1000 per component at k = 32
LARGEST = 1e150  # largest absolute value whose square, summed over many descriptors, is finite


def sample_size(n_components: int, n_features: int) -> int:
    """The number of descriptors to draw for a start: bounded in memory, but at least ten per component."""
    return max(10 * n_components, min(SAMPLE_ROWS, SAMPLE_VALUES // n_features))


def start(
    sample: np.ndarray | Weighted, n_components: int, *, init: str = "k-means", seed: int = 0, steps: int = LLOYD_STEPS
) -> Parameters:
    """Mixture of the clusters of a sample.

    Parameters
    ----------
    sample : ndarray of shape (n, d), or Weighted
        Each dimension is scaled to unit variance first, so that the start does not depend on units.
    n_components : int
    init : {"k-means", "k-means++", "faiss"}
        "k-means++" uses the clusters of its seeds, "k-means" refines them by Lloyd steps, "faiss" uses FAISS's
        k-means.
    seed : int
    steps : int
        Number of Lloyd steps.

    Returns
    -------
    Parameters
        Weights (k,), means (k, d) and variances (k, d).

    Raises
    ------
    InputError
        More components than descriptors; values too large to be squared; unknown `init`.
    """
    x, w = split(sample)
    x = np.asarray(x)  # (n, d)
    n = len(x) if w is None else w.sum()
    whose = "the number of descriptors" if w is None else "the sum of the weights"
    remedy = "" if w is None else ": multiply the weights by a constant, because a weight of 1 counts as one descriptor"
    check(n_components <= n, f"n_components must be at most {n:g}, {whose}, got {n_components}{remedy}")
    largest = max(float(x.max()), -float(x.min()))
    check(largest <= LARGEST, f"absolute values of descriptors must be at most {LARGEST:g}, got {largest:g}")
    mean, variance = mean_and_variance(x, w)
    sd = without_rounding(variance, mean) ** 0.5
    scaled = ((x - mean) / np.where(sd > 0, sd, np.inf)).astype(np.float32)  # 0 in dimensions without variance
    if init not in INITS:
        raise InputError(f'init must be "k-means", "k-means++" or "faiss", got {init!r}')
    centres, labels = _k_means(scaled, n_components, init, seed, steps, w)
    sizes = np.bincount(labels, w, minlength=n_components)
    means = _centres(x, labels, mean + centres * sd, w)
    variances = _centres(x, labels, np.broadcast_to(sd**2, means.shape), w, around=means) * (sd > 0)
    weights = np.where(sizes > 0, sizes, n / len(x))  # a duplicate centre has no members, but may gain some in EM
    return Parameters(weights / weights.sum(), means, variances)


def mean_and_variance(x: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each dimension, (d,), float64."""
    if weights is None:
        return x.mean(axis=0, dtype=np.float64), x.var(axis=0, dtype=np.float64)
    mean = weights @ x / weights.sum()
    return mean, weights @ (x - mean) ** 2 / weights.sum()


def _k_means(
    x: np.ndarray, n_components: int, init: str, seed: int, steps: int, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Centres (k, d) and labels (n,)."""
    if init == "faiss":
        centres = _faiss(x, n_components, seed, weights)
    else:
        centres = kmeans_plusplus(x, n_components, np.random.default_rng(seed), weights)
        for _ in range(steps if init == "k-means" else 0):
            centres = _centres(x, nearest(x, centres), centres, weights)
    return centres, nearest(x, centres)


def without_rounding(variances: np.ndarray, means: np.ndarray) -> np.ndarray:
    """The variances, set to 0 where they are no larger than the rounding error of the mean of a constant."""
    return np.where(variances > (1e-13 * means) ** 2, variances, 0.0)


def nearest(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Index of the nearest centre of each row, (n,), in the precision of x."""
    offsets = (0.5 * (centres**2).sum(axis=1)).astype(x.dtype)
    columns = np.ascontiguousarray(centres.T, dtype=x.dtype)
    found = np.empty(len(x), np.int64)
    for start in range(0, len(x), BLOCK):
        found[start : start + BLOCK] = (x[start : start + BLOCK] @ columns - offsets).argmax(axis=1)
    return found


def _centres(
    x: np.ndarray,
    labels: np.ndarray,
    otherwise: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    around: np.ndarray | None = None,
) -> np.ndarray:
    """Weighted mean of the rows with each label, (k, d); the row of `otherwise` for a label without rows.

    around (k, d): mean of the squared distances to the row of the label instead.
    """
    sizes = np.bincount(labels, weights, minlength=len(otherwise))
    sums, numbers = np.zeros((len(otherwise), x.shape[1])), np.arange(len(otherwise))[:, None]
    for start in range(0, len(x), BLOCK):
        own, rows = labels[start : start + BLOCK], x[start : start + BLOCK].astype(np.float64)
        if around is not None:
            rows = (rows - around[own]) ** 2
        members = (own == numbers).astype(np.float64)  # (k, rows)
        if weights is not None:
            members *= weights[start : start + BLOCK]
        sums += members @ rows
    return np.where(sizes[:, None] > 0, sums / np.where(sizes > 0, sizes, 1)[:, None], otherwise)


def _faiss(x: np.ndarray, n_components: int, seed: int, weights: np.ndarray | None) -> np.ndarray:
    faiss = require("faiss", purpose='init="faiss"', install="pip install 'ildfv[cpu]'")
    kmeans = faiss.Kmeans(x.shape[1], n_components, niter=LLOYD_STEPS, seed=seed, min_points_per_centroid=1)
    threads = faiss.omp_get_max_threads()
    # One thread: in a forked child, OpenMP would wait forever for the threads of the parent. It also makes the result
    # independent of the number of threads.
    faiss.omp_set_num_threads(1)
    try:
        given = None if weights is None else weights.astype(np.float32)
        kmeans.train(np.ascontiguousarray(x, dtype=np.float32), weights=given)
    finally:
        faiss.omp_set_num_threads(threads)
    return kmeans.centroids.astype(np.float64)
