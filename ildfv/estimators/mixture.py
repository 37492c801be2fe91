"""Diagonal Gaussian mixture for data sets larger than memory, with scikit-learn's interface."""

from __future__ import annotations

from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning

from ildfv.estimators.mixture_model import MixtureModel


class GaussianMixture(MixtureModel, DensityMixin, BaseEstimator):
    """Diagonal mixture of Gaussians fitted by EM in memory independent of the number of descriptors.

    Parameters
    ----------
    n_components : int
        Number of components k.
    max_iter : int
        Maximum number of passes over the data; 0 keeps the initial parameters.
    tol : float
        EM stops when a pass raises the mean log likelihood by less than this many nats per descriptor.
    method : {"exact", "stepwise", "auto"}
        "exact" updates the parameters after each pass. "stepwise" needs fewer passes (max_iter=3): it starts from
        split-and-merge EM on a sample, updates the parameters about every 32·k descriptors, and makes the last pass
        exact. The descriptors of a step are spread over the whole array, if X is an array in memory. The batches of a
        stream are read in order and should be shuffled. If they are sorted by kind, the likelihood decreases; the
        stepwise passes then end with a warning. "auto" chooses by size: "exact" for arrays and lists in memory with
        fewer than 65,536 descriptors per component, for which the start of "stepwise" takes longer than twenty exact
        passes; otherwise "stepwise" with at most three passes, which may end before convergence without a warning.
    init : {"k-means", "k-means++", "faiss"}
        Initialisation on a sample of the data, unless `weights_init`, `means_init`, `variances_init` are given.
    n_init : int
        Number of fits from different random starts, each with all its passes. The fit with the highest mean log
        likelihood of all descriptors is kept, so the likelihood is never lower than with a smaller n_init.
    variance_floor : float
        Smallest variance, as a fraction of each dimension's overall variance in the initial mixture. See Notes.
    random_state : int, RandomState or None
        Seed of the initialisation and of the method `sample`.
    weights_init, means_init, variances_init : array of shape (k,), (k, d), (k, d), optional
        Initial parameters of EM; all or none must be given.
    warm_start : bool
        Whether `fit` continues from the learned parameters and number of passes. The result equals that of an
        uninterrupted fit to the last bit.
    callback : callable, optional
        Called as callback(iteration, mean_log_likelihood) after each pass of each of the n_init fits, with the learned
        attributes updated.
    reduce : callable, optional
        Sums a dict of float64 arrays over ranks (`ildfv.distributed.sum_arrays`). Every rank needs the same initial
        parameters.
    gather : callable, optional
        Returns the items of all ranks (`ildfv.distributed.gather`). Required by "stepwise" if `reduce` is given. Each
        item of the stream is then one step, and a rank holds some or none of its maps.

    Attributes
    ----------
    weights_, means_, variances_ : ndarray of shape (k,), (k, d), (k, d), float64
    log_likelihoods_ : ndarray, one entry for each pass
        Mean log likelihood of each pass in nats per descriptor, at the parameters before the pass or, if stepwise,
        before each step.
    floors_ : ndarray of shape (d,)
        Smallest variance of each dimension.
    method_ : str
        The method used: "exact" or "stepwise".
    n_iter_, n_steps_ : int
        Number of passes, and of steps of stepwise EM.
    converged_ : bool
        Whether the last two passes differ by less than `tol`.
    lower_bound_ : float
        Mean log likelihood of the last pass.

    Notes
    -----
    Activations after a ReLU are exactly 0 at about half of all locations, and a component whose descriptors are all 0
    in a dimension has no variance there. The likelihood then has no maximum and depends on the floor. On activations of
    CNN-F with random weights on generated chests, k = 16, each tenfold reduction of the floor raised the mean log
    likelihood by 15 to 20 nats (conv1), so likelihoods at different floors are not comparable. On chests not used for
    fitting, conv5 (4056 descriptors of 256 dimensions) had a mean log likelihood of 16 nats at a floor of 1e-3, −231 at
    1e-4, −2,440 at 1e-5 and −17,194 at 1e-6. Raise the default of 1e-4 if few descriptors are available.
    """

    _convergence_warning = ConvergenceWarning
