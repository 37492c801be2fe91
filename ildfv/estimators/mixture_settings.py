"""Checks of the settings of a mixture, made before any data are read."""

from __future__ import annotations

import numpy as np

from ildfv.errors import check, check_integer, check_number
from ildfv.estimators.batches import Batches
from ildfv.estimators.start import INITS

METHODS = ("exact", "stepwise", "auto")
ROWS = 1 << 16  # descriptors per component from which stepwise EM needs less time than exact EM (bench/NOTES.md)
STEPWISE_PASSES = 3  # maximum number of passes of stepwise EM that "auto" has chosen; it gains little afterwards


def chosen_method(mixture, batches: Batches) -> str:
    """The method of a fit: "exact" or "stepwise".

    "auto" chooses "exact" for arrays and lists with fewer than ROWS descriptors per component. The search for the start
    of stepwise EM takes as long as some passes over ROWS descriptors per component, for any number of descriptors and
    dimensions. Streams and arrays on disk are expensive to read, so they are read in few passes.
    """
    if mixture.method != "auto":
        return mixture.method
    number = batches.count_in_memory()
    return "exact" if number is not None and number < ROWS * mixture.n_components else "stepwise"


def most_passes(mixture) -> int:
    """`max_iter`, or fewer if "auto" chose "stepwise"."""
    few = mixture.method == "auto" and mixture.method_ == "stepwise"
    return min(mixture.max_iter, STEPWISE_PASSES) if few else mixture.max_iter


def stepwise_is_over(mixture) -> bool:
    """Whether the next pass is the last one, or a stepwise pass increased the likelihood by less than `tol`."""
    rises = np.diff(mixture.log_likelihoods_)
    return mixture.n_iter_ == most_passes(mixture) - 1 or bool((rises < mixture.tol).any())


def check_settings(mixture, *, resumes: bool) -> None:
    """Raises InputError for a setting of a `GaussianMixture` that is out of range or requires another setting.

    resumes: whether the fit continues from learned parameters.
    """
    check_integer(mixture.n_components, "n_components", 1)
    check_integer(mixture.n_init, "n_init", 1)
    check_integer(mixture.max_iter, "max_iter", 0)
    check_number(mixture.tol, "tol", "at least 0", lambda tol: tol >= 0, infinite=True)
    check_number(mixture.variance_floor, "variance_floor", "above 0", lambda floor: floor > 0)
    check(mixture.method in METHODS, f'method must be "exact", "stepwise" or "auto", got {mixture.method!r}')
    check(mixture.init in INITS, f'init must be "k-means", "k-means++" or "faiss", got {mixture.init!r}')
    given = [value is not None for value in (mixture.weights_init, mixture.means_init, mixture.variances_init)]
    check(all(given) or not any(given), "weights_init, means_init and variances_init must be given together")
    if mixture.reduce is not None:
        check(
            all(given) or resumes,
            "reduce needs weights_init, means_init and variances_init, with equal values on all ranks",
        )
        check(mixture.method != "auto", 'method must be "exact" or "stepwise" with reduce, got "auto"')
        stepwise = mixture.method == "stepwise"
        check(not stepwise or mixture.gather is not None, 'reduce needs gather with method "stepwise", got None')
