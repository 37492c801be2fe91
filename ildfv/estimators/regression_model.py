"""Multivariate linear regression from sums of products, and its predictions."""

from __future__ import annotations

import warnings
from typing import Self

from ildfv.arrays import check_finite, floating, like, namespace, to_float64
from ildfv.counted import counted
from ildfv.errors import check_integer, check_number
from ildfv.estimators.base import AnyArray, Persistent, Reduce, as_array, default_errstate
from ildfv.estimators.ecm import RegressionSums, Solution, solve


class RegressionModel(Persistent):
    """The fit of `MultivariateRegression` to sums of products, without scikit-learn's base classes.

    `MultivariateRegression` documents parameters and attributes.
    """

    _estimator = "MultivariateRegression"
    _tensors = (
        "coef_",
        "intercept_",
        "residual_covariance_",
        "standard_errors_",
        "intercept_standard_errors_",
    )
    _numbers = ("n_features_in_", "log_likelihood_", "rank_", "n_samples_", "n_iter_", "converged_")

    def __init__(
        self, *, ridge: float = 0.0, max_iter: int = 1000, tol: float = 1e-10, reduce: Reduce | None = None
    ) -> None:
        self.ridge = ridge
        self.max_iter = max_iter
        self.tol = tol
        self.reduce = reduce

    @default_errstate
    def fit_sums(self, sums: RegressionSums, *, flat: bool = False, standard_errors: bool = True) -> Self:
        """Fit from sums of rows.

        flat: whether to drop the output axis of the learned arrays. standard_errors: whether to compute the standard
        errors, which takes about as long as the fit; otherwise they are NaN.
        """
        check_number(self.ridge, "ridge", "at least 0", lambda ridge: ridge >= 0)
        check_integer(self.max_iter, "max_iter", 1)
        check_number(self.tol, "tol", "at least 0", lambda tol: tol >= 0, infinite=True)
        found: Solution = solve(
            sums, ridge=self.ridge, max_iter=self.max_iter, tol=self.tol, standard_errors=standard_errors
        )
        p = found.coefficients.shape[1] - 1
        if found.rank < p:
            message = (
                f"the design has rank {found.rank} but {counted(p, 'feature')}: the coefficients of least norm are used"
            )
            warnings.warn(message, stacklevel=5)
        if not found.converged:
            warnings.warn(
                f"ECM has not converged to tol = {self.tol} after max_iter = {self.max_iter} steps: increase max_iter",
                self._convergence_warning,
                stacklevel=5,
            )
        first = 0 if flat else slice(None)
        self.intercept_, self.coef_ = found.coefficients[first, 0], found.coefficients[first, 1:]
        self.intercept_standard_errors_, self.standard_errors_ = found.errors[first, 0], found.errors[first, 1:]
        self.residual_covariance_ = found.covariance
        self.log_likelihood_, self.rank_, self.n_samples_ = found.log_likelihood, found.rank, found.n_samples
        self.n_iter_, self.converged_, self.n_features_in_ = found.n_iter, found.converged, p
        return self

    @default_errstate
    def predict(self, X: AnyArray) -> AnyArray:
        """Expected outputs.

        Parameters
        ----------
        X : array of shape (m, p)
            Finite features.

        Returns
        -------
        array of shape (m, c), or (m,) if Y was one-dimensional
            In X's array library.

        Raises
        ------
        InputError
            Non-finite values, wrong shape or number of features.
        """
        self._check_fitted()
        x = as_array(self, X)
        check_finite(x, "X")
        kind = getattr(namespace(x), floating(x))
        x = to_float64(x)  # if features are far from zero, adding the intercept in float32 would lose digits
        scores = x @ like(self.coef_.T, x) + like(self.intercept_, x)
        predicted: AnyArray = namespace(x).astype(scores, kind, copy=False)
        return predicted
