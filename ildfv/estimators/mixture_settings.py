"""Checks of the settings of a mixture, made before any data are read."""

from __future__ import annotations

from ildfv.errors import check, check_integer, check_number
from ildfv.estimators.start import INITS


def check_settings(mixture, *, resumes: bool) -> None:
    """InputError for a setting of a `GaussianMixture` that is out of range or requires another setting.

    resumes: whether the fit continues from learned parameters.
    """
    check_integer(mixture.n_components, "n_components", 1)
    check_integer(mixture.n_init, "n_init", 1)
    check_integer(mixture.max_iter, "max_iter", 0)
    check_number(mixture.tol, "tol", "at least 0", lambda tol: tol >= 0, infinite=True)
    check_number(mixture.variance_floor, "variance_floor", "above 0", lambda floor: floor > 0)
    check(mixture.method in ("exact", "stepwise"), f'method must be "exact" or "stepwise", got {mixture.method!r}')
    check(mixture.init in INITS, f'init must be "k-means", "k-means++" or "faiss", got {mixture.init!r}')
    given = [value is not None for value in (mixture.weights_init, mixture.means_init, mixture.variances_init)]
    check(all(given) or not any(given), "weights_init, means_init and variances_init must be given together")
    if mixture.reduce is not None:
        check(
            all(given) or resumes,
            "reduce needs weights_init, means_init and variances_init that are equal on all ranks",
        )
        stepwise = mixture.method == "stepwise"
        check(not stepwise or mixture.gather is not None, 'method="stepwise" with reduce also needs gather')
