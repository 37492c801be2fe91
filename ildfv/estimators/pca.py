"""Principal components of data sets larger than memory, with scikit-learn's interface."""

from __future__ import annotations

from sklearn.base import BaseEstimator, TransformerMixin

from ildfv.estimators.pca_model import PCAModel


class PCA(PCAModel, TransformerMixin, BaseEstimator):
    """Principal components from the exact covariance, or from block Krylov passes for many features.

    The result is exact for at most 4096 features, or for an array of at most 4096 rows. Otherwise `n_passes` passes
    give an approximation that never overestimates an explained variance. If so many components are requested that the
    exact result costs no more, the result is exact as well.

    Parameters
    ----------
    n_components : int or None
        Number of components. If it is larger than min(n, d), min(n, d) components are computed and a warning is
        given. None: min(n, d).
    whiten : bool
        Whether to scale projections to unit variance. Components whose variance may be a rounding error (below 1e-12 of
        the first component's for float32 rows or components, 1e-16 for float64) keep a lower variance.
    n_passes : int
        Number of passes over the data if there are more than 4096 features.
    random_state : int
        Seed of the random directions that are used if there are more than 4096 features.
    reduce : callable, optional
        Sums a dict of float64 arrays over ranks (`ildfv.distributed.sum_arrays`).

    Attributes
    ----------
    components_ : ndarray of shape (c, d)
        The entry of largest absolute value of each component is positive. float64; float32 beyond 4096 features.
    mean_ : ndarray of shape (d,)
    explained_variance_ : ndarray of shape (c,)
        With divisor n − 1.
    explained_variance_ratio_, singular_values_ : ndarray of shape (c,)
    n_samples_, n_components_ : int
    """

    transform = PCAModel.transform  # scikit-learn applies `set_output` only to methods in the class itself
