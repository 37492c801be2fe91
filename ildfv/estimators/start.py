"""Starting values of EM: the weights, means and variances of k-means clusters of a sample."""

from __future__ import annotations

import numpy as np

from ildfv.errors import InputError, check, require
from ildfv.estimators.em import Parameters
from ildfv.estimators.seeding import kmeans_plusplus

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
    sample: np.ndarray, n_components: int, *, init: str = "k-means", seed: int = 0, steps: int = LLOYD_STEPS
) -> Parameters:
    """Mixture of the clusters of a sample.

    Parameters
    ----------
    sample : ndarray of shape (n, d)
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
    x = np.asarray(sample)  # (n, d)
    n = len(x)
    check(n_components <= n, f"n_components must be at most {n}, the number of descriptors, got {n_components}")
    largest = max(float(x.max()), -float(x.min()))
    check(largest <= LARGEST, f"absolute values of descriptors must be at most {LARGEST:g}, got {largest:g}")
    mean = x.mean(axis=0, dtype=np.float64)
    sd = without_rounding(x.var(axis=0, dtype=np.float64), mean) ** 0.5
    scaled = ((x - mean) / np.where(sd > 0, sd, np.inf)).astype(np.float32)  # 0 in dimensions without variance
    if init not in INITS:
        raise InputError(f'init must be "k-means", "k-means++" or "faiss", got {init!r}')
    centres, labels = _k_means(scaled, n_components, init, seed, steps)
    sizes = np.bincount(labels, minlength=n_components)
    means = _centres(x, labels, mean + centres * sd)
    variances = _centres(x, labels, np.broadcast_to(sd**2, means.shape), around=means) * (sd > 0)
    weights = np.maximum(sizes, 1.0)  # a duplicate centre has no members, but may gain some in EM
    return Parameters(weights / weights.sum(), means, variances)


def _k_means(x: np.ndarray, n_components: int, init: str, seed: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres (k, d) and labels (n,)."""
    if init == "faiss":
        centres = _faiss(x, n_components, seed)
    else:
        centres = kmeans_plusplus(x, n_components, np.random.default_rng(seed))
        for _ in range(steps if init == "k-means" else 0):
            centres = _centres(x, nearest(x, centres), centres)
    return centres, nearest(x, centres)


def without_rounding(variances: np.ndarray, means: np.ndarray) -> np.ndarray:
    """The variances, set to 0 where they are no larger than the rounding error of the mean of a constant."""
    return np.where(variances > (1e-13 * means) ** 2, variances, 0.0)


def every(x: np.ndarray, rows: int) -> np.ndarray:
    """Evenly spaced rows of x, between `rows` and twice as many, or all if there are fewer."""
    return np.ascontiguousarray(x[:: max(1, len(x) // rows)])


def nearest(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Index of the nearest centre of each row, (n,), in the precision of x."""
    offsets = (0.5 * (centres**2).sum(axis=1)).astype(x.dtype)
    columns = np.ascontiguousarray(centres.T, dtype=x.dtype)
    found = np.empty(len(x), np.int64)
    for start in range(0, len(x), BLOCK):
        found[start : start + BLOCK] = (x[start : start + BLOCK] @ columns - offsets).argmax(axis=1)
    return found


def _centres(
    x: np.ndarray, labels: np.ndarray, otherwise: np.ndarray, *, around: np.ndarray | None = None
) -> np.ndarray:
    """Mean of the rows with each label, (k, d); the row of `otherwise` for a label without rows.

    around (k, d): mean of the squared distances to the row of the label instead.
    """
    sizes = np.bincount(labels, minlength=len(otherwise))
    sums, numbers = np.zeros((len(otherwise), x.shape[1])), np.arange(len(otherwise))[:, None]
    for start in range(0, len(x), BLOCK):
        own, rows = labels[start : start + BLOCK], x[start : start + BLOCK].astype(np.float64)
        if around is not None:
            rows = (rows - around[own]) ** 2
        sums += (own == numbers).astype(np.float64) @ rows
    return np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], otherwise)


def _faiss(x: np.ndarray, n_components: int, seed: int) -> np.ndarray:
    faiss = require("faiss", purpose='init="faiss"', install="pip install 'ildfv[cpu]'")
    kmeans = faiss.Kmeans(x.shape[1], n_components, niter=LLOYD_STEPS, seed=seed, min_points_per_centroid=1)
    threads = faiss.omp_get_max_threads()
    # One thread: in a forked child, OpenMP would wait forever for the threads of the parent. It also makes the result
    # independent of the number of threads.
    faiss.omp_set_num_threads(1)
    try:
        kmeans.train(np.ascontiguousarray(x, dtype=np.float32))
    finally:
        faiss.omp_set_num_threads(threads)
    return kmeans.centroids.astype(np.float64)
