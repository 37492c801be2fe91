"""Intervals and paired tests. Patients are resampled, because slices of one patient are not independent.

An interval is value ± t(m − 1) · SE · √(m / (m − 1)), computed on the logit scale for proportions. SE is the standard
deviation of the measure over bootstrap resamples of patients. m is the number of patients that the measure depends on
(`Measure.patients`): for the F of a pattern, the number of patients who show the pattern; for an AUC, the smaller of
the numbers of patients with and without the pattern. Intervals of the percentile bootstrap are too narrow for small m;
`bench/bench_coverage.py` measures the coverage of both methods.

If a measure is equal on all resamples, the bootstrap says nothing about its variation, and an interval of width 0 would
claim certainty. A proportion of 0 or 1, such as an AUC of 1, then has an exact bound (compare Obuchowski & Lieber,
Confidence bounds when the estimated ROC area is 1.0, Acad Radiol 2002). All other values and all differences have no
interval.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtr, stdtrit

from ildfv.errors import check
from ildfv.evaluation.documents import Interval, PairedTest
from ildfv.evaluation.measures import Measure

RESAMPLES = 2000  # bootstrap resamples; also random swaps of a permutation test, whose smallest p value is 1/2001
LEVEL = 0.95
METHOD = "patient bootstrap, logit t"
MIN_PATIENTS = 5  # with fewer patients, no tested method has its nominal coverage, and t intervals are extremely wide
EQUAL = 1e-12  # values on resamples that differ by less are equal, apart from rounding errors
MIN_DEFINED = 0.9  # an interval is undefined if the measure is defined on a smaller fraction of the resamples


def resampled(n_patients: int, n_resamples: int = RESAMPLES, *, seed: int = 0) -> np.ndarray:
    """How often each patient is drawn in each bootstrap resample, float64 (B, P). InputError: n_patients is below 1."""
    check(n_patients >= 1, f"n_patients must be at least 1, got {n_patients}")
    return np.random.default_rng(seed).multinomial(n_patients, [1 / n_patients] * n_patients, n_resamples).astype(float)


def confidence(measure: Measure, weights: np.ndarray, *, proportion: bool = True) -> Interval | None:
    """95 % interval of a measure, or None.

    It is None if the measure is undefined or depends on fewer than `MIN_PATIENTS` patients, is undefined on too many
    resamples (`MIN_DEFINED`), or is equal on all of them, such as the AUC of constant scores. If a proportion is
    exactly 0 or 1, the Clopper–Pearson bound for m patients without an error is used: the interval is [0.025^(1/m), 1]
    for 1, and [0, 1 − 0.025^(1/m)] for 0.

    Parameters
    ----------
    measure : Measure
        Measure as a function of patient weights.
    weights : array, shape (B, P)
        Patient weights of the resamples, from `resampled`.
    proportion : bool
        Whether the measure is in [0, 1]. If not, the interval is symmetric about the value.
    """
    m, value = measure.patients, float(measure(np.ones((1, weights.shape[1])))[0])
    if m < MIN_PATIENTS or not np.isfinite(value):
        return None
    if proportion and value in (0.0, 1.0):
        bound = ((1 - LEVEL) / 2) ** (1 / m)
        return (bound, 1.0) if value == 1 else (0.0, 1 - bound)
    variance = _variance(measure(weights), m)
    if variance is None:
        return None
    half = float(_quantile(m - 1) * np.sqrt(variance))
    if not proportion:
        return value - half, value + half
    logit, half = np.log(value / (1 - value)), half / (value * (1 - value))
    low, high = (1 / (1 + np.exp(-np.array([logit - half, logit + half])))).tolist()
    return low, high


def paired(
    a: Measure,
    b: Measure,
    n_patients: int,
    *,
    n_resamples: int = RESAMPLES,
    seed: int = 0,
    proportion: bool = True,
) -> PairedTest:
    """Difference a − b of one measure between two systems on the same slices, with its interval and p value.

    interval: 95 %, from the same resampled patients for both systems. It is None if the measure depends on fewer than
    `MIN_PATIENTS` patients, or if the difference is undefined on too many resamples (`MIN_DEFINED`) or equal on all of
    them, for example because both systems have an AUC of 1.

    p: from a two-sided permutation test. Under the null hypothesis the systems are exchangeable, so the scores of a
    patient can be swapped between them. All 2^P swaps are used if there are at most n_resamples of them. Otherwise
    n_resamples random swaps are used, and p = (1 + hits)/(1 + n), which is never 0: hits of the n swaps with a defined
    difference have one at least as large as observed. If the observed difference is undefined, all values are None.

    The test is exact for measures of decisions. It is approximate for the AUC, because percentile ranks are swapped,
    which depend on the scores of the other patients. With few patients it tests exchangeability rather than equal AUC:
    if two systems have equal AUC but scores of different variance, the rejection rate can exceed the level.
    """
    ones = np.ones((1, n_patients))
    observed, m = float(a(ones)[0] - b(ones)[0]), min(a.patients, b.patients)
    if not np.isfinite(observed):
        return PairedTest(difference=None, interval=None, p=None, patients=m)
    weights = resampled(n_patients, n_resamples, seed=seed)
    exact = 2**n_patients <= n_resamples
    if exact:
        own = (np.arange(2**n_patients)[:, None] >> np.arange(n_patients) & 1).astype(float)
    else:
        own = np.random.default_rng([seed, 1]).integers(0, 2, (n_resamples, n_patients)).astype(float)
    swapped = a.mixed(b, own) - a.mixed(b, 1 - own)
    swapped = swapped[np.isfinite(swapped)]
    hits = int((np.abs(swapped) >= abs(observed) - 1e-12).sum())
    return PairedTest(
        difference=observed,
        interval=difference_interval(a, b, weights, proportion=proportion),
        p=hits / len(swapped) if exact else (1 + hits) / (1 + len(swapped)),
        patients=m,
    )


def difference_interval(a: Measure, b: Measure, weights: np.ndarray, *, proportion: bool = True) -> Interval | None:
    """95 % interval of a − b, from the same resampled patients for both. It is None in the cases that `paired` lists.

    weights: patient weights of the resamples, (B, P), from `resampled`. proportion: whether the measures are in [0, 1];
    if so, the interval is limited to [−1, 1].
    """
    ones, m = np.ones((1, weights.shape[1])), min(a.patients, b.patients)
    first, second = float(a(ones)[0]), float(b(ones)[0])
    if m < MIN_PATIENTS or not np.isfinite(first - second):
        return None
    variance = _variance(a(weights) - b(weights), m)
    return None if variance is None else _around(first - second, np.sqrt(variance), m - 1, proportion)


def paired_over_seeds(
    pairs: Sequence[tuple[Measure, Measure]],
    n_patients: int,
    *,
    n_resamples: int = RESAMPLES,
    seed: int = 0,
    proportion: bool = True,
) -> PairedTest:
    """Mean difference a − b of one measure over systems that were fitted with S different seeds.

    The variance of the mean has two parts: the bootstrap variance over patients of the mean over seeds, and s²/S, where
    s² is the variance of the difference over seeds. The interval and p use Student's t with the degrees of freedom of
    Welch and Satterthwaite. Both are None if the measure depends on fewer than `MIN_PATIENTS` patients, or if the first
    variance cannot be estimated (`paired`). For a single pair, the result is that of `paired`, without the variation
    over seeds.

    Parameters
    ----------
    pairs : sequence of (Measure, Measure)
        For each seed, the measures of the two systems on the same slices.
    """
    if len(pairs) == 1:
        return paired(*pairs[0], n_patients, n_resamples=n_resamples, seed=seed, proportion=proportion)
    ones, weights = np.ones((1, n_patients)), resampled(n_patients, n_resamples, seed=seed)
    differences = np.array([float(a(ones)[0] - b(ones)[0]) for a, b in pairs])
    n, m = len(pairs), min(min(a.patients, b.patients) for a, b in pairs)
    if not np.isfinite(differences).all():
        return PairedTest(difference=None, interval=None, p=None, patients=m, seeds=n, seed_sd=None)
    mean, of_seeds = float(differences.mean()), float(differences.var(ddof=1))
    of_patients = (
        None if m < MIN_PATIENTS else _variance(np.mean([a(weights) - b(weights) for a, b in pairs], axis=0), m)
    )
    interval, p = None, None
    if of_patients is not None and of_patients + of_seeds > 0:
        total = of_patients + of_seeds / n
        freedom = total**2 / (of_patients**2 / (m - 1) + (of_seeds / n) ** 2 / (n - 1))
        interval = _around(mean, np.sqrt(total), freedom, proportion)
        p = float(2 * stdtr(freedom, -abs(mean) / np.sqrt(total)))
    return PairedTest(difference=mean, interval=interval, p=p, patients=m, seeds=n, seed_sd=float(np.sqrt(of_seeds)))


def _variance(values: np.ndarray, m: int) -> float | None:
    """Variance of the measure's values (B,) on the resamples, times m / (m − 1).

    It is None if too many values are undefined, or if all values are equal.
    """
    defined = values[np.isfinite(values)]
    if len(defined) < 2 or len(defined) < MIN_DEFINED * len(values) or np.ptp(defined) < EQUAL:
        return None
    return float(defined.var(ddof=1)) * m / (m - 1)


def _quantile(freedom: float) -> float:
    """The quantile of Student's t for a two-sided interval of `LEVEL`."""
    return float(stdtrit(freedom, (1 + LEVEL) / 2))


def _around(difference: float, error: float, freedom: float, proportion: bool) -> Interval:
    """The t interval of a difference, limited to [−1, 1] for a difference of proportions."""
    half = _quantile(freedom) * float(error)
    if not proportion:
        return difference - half, difference + half
    return max(difference - half, -1.0), min(difference + half, 1.0)
