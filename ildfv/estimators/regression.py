"""Multivariate linear regression with correlated errors and missing labels, like Matlab's mvregress."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_consistent_length

from ildfv.arrays import check_finite, check_real, is_array, to_numpy
from ildfv.errors import check
from ildfv.estimators.base import Reduce, as_array, default_errstate
from ildfv.estimators.batches import is_stream
from ildfv.estimators.ecm import RegressionSums
from ildfv.estimators.labels import numeric_labels
from ildfv.estimators.regression_model import RegressionModel

ROWS = 8192  # rows added to the sums at a time


class MultivariateRegression(RegressionModel, MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Maximum likelihood fit of Y = X·coefᵀ + intercept + e with normal rows e of one covariance (Matlab's mvregress).

    NaN in Y is a missing label: ECM maximises the likelihood of the observed labels, and rows without labels are
    ignored. If the rank of the design is below p, a warning is given, and the coefficients have the least norm after
    each is multiplied by the standard deviation of its feature. Coefficients that the data do not determine have NaN as
    standard errors.

    Parameters
    ----------
    ridge : float
        Coefficients minimise ‖Y − XB‖² + ridge·‖B‖² as in scikit-learn's Ridge; the intercept is not penalised.
    max_iter : int
        Maximum number of ECM steps.
    tol : float
        ECM ends when the mean log likelihood per row changes by less than this. With complete labels, one step is
        exact.
    reduce : callable, optional
        Sums a dict of float64 arrays over ranks (`ildfv.distributed.sum_arrays`). The data are then not centred, so
        features and labels should be within a thousand standard deviations of zero. Missing labels are supported for
        at most six outputs.

    Attributes
    ----------
    coef_ : ndarray of shape (c, p), float64
    intercept_ : ndarray of shape (c,)
    residual_covariance_ : ndarray of shape (c, c)
        With divisor n.
    standard_errors_, intercept_standard_errors_ : ndarray of shape (c, p), (c,)
        From the observed information (minus the Hessian of the log likelihood of the observed labels), as with Matlab's
        default `vartype`. The residual covariance counts as unknown: I_BB − I_BΣ I_ΣΣ⁻¹ I_ΣB. The errors are asymptotic
        and assume that labels are missing at random.
    log_likelihood_ : float
        Of the observed labels, nats.
    rank_ : int
        Rank of the features, without the intercept.
    n_samples_ : int
        Number of rows with at least one label.
    n_iter_ : int
        Number of ECM steps.
    converged_ : bool

    Notes
    -----
    For one-dimensional Y the axis c of coefficients, intercepts and standard errors is dropped; `residual_covariance_`
    has the shape (1, 1).

    With `ridge` and missing labels, each ECM step is a ridge regression on the expected labels, and the residual
    covariance is computed from the residuals, without a contribution of the penalty. The result is a fixed point of
    these steps and not the maximum of one penalised likelihood. With complete labels it is exactly scikit-learn's
    Ridge.
    """

    _convergence_warning = ConvergenceWarning

    @default_errstate
    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the regression.

        Parameters
        ----------
        X : array of shape (m, p), or iterable of pairs (X, Y)
            Also a function that returns an iterator over pairs.
        y : array of shape (m, c) or (m,), optional
            NaN = missing label. Required with an array X; must be omitted with pairs.

        Returns
        -------
        self

        Raises
        ------
        InputError
            An argument of the constructor is invalid; X is not finite, or Y is infinite; shapes or lengths differ;
            labels are not numbers; an output has no labels; or the sums of products overflow or underflow.
        """
        if y is None and is_stream_of_pairs(X):
            return self._fit_pairs(X() if callable(X) else X)
        check(y is not None, f"{type(self).__name__} requires y to be passed, but the target y is None")
        x = as_array(self, X, reset=True)
        check_finite(x, "X")
        y = numeric_labels(y)
        check_consistent_length(x, y)
        labels, flat = _as_columns(y)
        sums = self._new_sums(x, labels)
        for start in range(0, x.shape[0], ROWS):
            stop = min(start + ROWS, x.shape[0])
            sums.update(x[start:stop, :], labels[start:stop, :])
        return self.fit_sums(sums.reduced(self.reduce), flat=flat)

    def _new_sums(self, x: Any, labels: Any) -> RegressionSums:
        """Empty sums, centred on the means of these rows or, with several ranks, which need equal centres, on zero."""
        alone = self.reduce is None
        centre = _means(x, labels) if alone else None
        return RegressionSums(x.shape[1], labels.shape[1], centre=centre, grows=alone)

    def _fit_pairs(self, pairs: Any) -> Self:
        sums: RegressionSums | None = None
        flat = False
        for i, pair in enumerate(pairs):
            # torch's DataLoader yields pairs as lists
            is_pair = isinstance(pair, (tuple, list)) and len(pair) == 2
            check(is_pair, f"batch {i} must be a pair (X, Y) if y is omitted")
            x, y = pair
            check(is_array(x) and x.ndim == 2, f"X of batch {i} must be an array (m, p), got {_described(x)}")
            check_real(x, f"X of batch {i}")
            labels, flat = _as_columns(y)
            sums = sums or self._new_sums(x, labels)
            sums.update(x, labels)
        if self.reduce is not None:
            sums, flat = _shared_with_ranks(sums, flat, self.reduce)
        check(sums is not None, "X must contain at least one batch, got none")
        assert sums is not None
        return self.fit_sums(sums.reduced(self.reduce), flat=flat)

    @default_errstate
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R² averaged over outputs.

        Parameters
        ----------
        X : array of shape (m, p)
            Finite features.
        y : array of shape (m, c), or (m,) if Y was one-dimensional
            NaN = missing label; the row is ignored for that output.
        sample_weight : array of shape (m,), optional
            Weight of each row.

        Returns
        -------
        float

        Raises
        ------
        InputError
            X is invalid, as for `predict`; y has a wrong shape or labels that are not numbers; or an output has no
            labels.
        """
        y = to_numpy(numeric_labels(y)).astype(np.float64)
        predicted = np.asarray(to_numpy(self.predict(X)), dtype=np.float64)
        check(y.shape == predicted.shape, f"y must have shape {predicted.shape}, got {y.shape}")
        weights = None if sample_weight is None else np.asarray(sample_weight)
        found = []
        for truth, prediction in zip(np.atleast_2d(y.T), np.atleast_2d(predicted.T), strict=True):
            seen = ~np.isnan(truth)
            check(bool(seen.any()), "y must contain a label of each output, got an output without labels")
            found.append(
                r2_score(truth[seen], prediction[seen], sample_weight=None if weights is None else weights[seen])
            )
        return float(np.mean(found))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


def is_stream_of_pairs(x: Any) -> bool:
    """Whether x, passed without y, is an iterable of pairs rather than an array for which y was forgotten."""
    return is_stream(x) or (isinstance(x, (list, tuple)) and len(x) > 0 and all(isinstance(i, tuple) for i in x))


def _described(x: Any) -> str:
    return f"shape {tuple(x.shape)}" if is_array(x) else type(x).__name__


def _means(x: Any, y: Any) -> np.ndarray:
    """Mean of each feature and of each output's labels (p + c,)."""
    y = to_numpy(y, dtype=np.float64)
    seen = ~np.isnan(y)
    labels = np.where(seen, y, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    return np.append(to_numpy(x).mean(axis=0, dtype=np.float64), labels)


def _shared_with_ranks(sums: RegressionSums | None, flat: bool, reduce: Reduce) -> tuple[RegressionSums | None, bool]:
    """`sums` and `flat`. If another rank has rows, a rank without rows gets empty sums and the `flat` of the others."""
    widths = (0, 0) if sums is None else (sums.n_features, sums.n_outputs)
    added = reduce({"ranks": np.array([sums is not None, *widths, flat], dtype=np.float64)})["ranks"]
    if sums is not None or added[0] == 0:
        return sums, flat
    p, c, one_dimensional = (round(float(total / added[0])) for total in added[1:])
    return RegressionSums(p, c), bool(one_dimensional)


def _as_columns(y: Any) -> tuple[Any, bool]:
    """Y as (m, c), and whether it was one-dimensional."""
    check(is_array(y), f"Y must be an array, got {type(y).__name__}")
    check_real(y, "Y")
    check(y.ndim in (1, 2), f"Y must have shape (m, c) or (m,), got {tuple(y.shape)}")
    return (y, False) if y.ndim == 2 else (y[:, None], True)
