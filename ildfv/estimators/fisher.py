"""Fisher vectors: scaled moments of the descriptors of a map, in the paper's or VLFeat's order."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import NotFittedError

from ildfv.errors import InputError, check
from ildfv.estimators.base import AnyArray, Persistent, RandomState, default_errstate
from ildfv.estimators.fisher_vectors import FittedMixture, concatenated, fisher_vectors, negate_sigma_part, vectors
from ildfv.estimators.images import check_not_images
from ildfv.estimators.kernel_maps import as_descriptors, with_weights
from ildfv.estimators.mixture import GaussianMixture
from ildfv.estimators.normalise import check_power
from ildfv.kernels.checks import check_threshold
from ildfv.weighted import Weighted, split

__all__ = ["FisherVector", "negate_sigma_part", "vectors"]


class FisherVector(Persistent, TransformerMixin, BaseEstimator):
    """Fisher vectors of activation maps (the paper's Eq. 4; Perronnin, Sánchez & Mensink 2010).

        u_j = s1_j / (n √w_j)    v_j = (s2_j − s0_j) / (n √(2 w_j))    weight part = (s0_j − n w_j) / (n √w_j)

    s0_j, s1_j, s2_j are the moments of the map for component j, w_j is the weight of the component, and n is the number
    of descriptors of the map, or the sum of their weights. Components with w_j below 1e-6 give zeros.

    Parameters
    ----------
    mixture : GaussianMixture or None
        A fitted mixture, or another object with `weights_`, `means_` and `variances_`, is used unchanged, and
        `transform` needs no fit. `fit` fits a clone of an unfitted mixture, or, for None, of
        GaussianMixture(n_components, random_state=random_state). Note that scikit-learn's clone discards parameters
        learned by EM but keeps those of GaussianMixture.from_parameters.
    n_components : int
        Components of the mixture if `mixture` is None.
    improved : bool
        Whether to apply the signed power, then scale to unit L2 norm.
    power : float
        Exponent of the signed power, in (0, 1]; 0.5 is the signed square root.
    intra : bool
        Whether an improved vector has each component scaled to unit norm after the signed power.
    order : {"component", "moment"}
        For k components, "component" is Eq. 4, [u_1, v_1, …, u_k, v_k]; "moment" is VLFeat's order,
        [u_1 … u_k, v_1 … v_k].
    weight_part : bool
        Whether to include the derivative with respect to the weights, one number per component: before each u_j in
        "component" order, all before u_1 in "moment" order.
    threshold : float
        Posteriors below this value are set to 0.
    random_state : int, RandomState or None
        Seed of the mixture if `mixture` is None.

    Attributes
    ----------
    mixture_ : GaussianMixture

    Notes
    -----
    scikit-image's `fisher_vector` computes the same vectors in "moment" order with the weight part, except that its
    derivatives with respect to the standard deviations have the opposite sign: see `negate_sigma_part`.
    """

    def __init__(
        self,
        mixture: FittedMixture | None = None,
        *,
        n_components: int = 32,
        improved: bool = True,
        order: Literal["component", "moment"] = "component",
        weight_part: bool = False,
        threshold: float = 1e-6,
        power: float = 0.5,
        intra: bool = False,
        random_state: RandomState = 0,
    ) -> None:
        self.mixture = mixture
        self.n_components = n_components
        self.improved = improved
        self.order = order
        self.weight_part = weight_part
        self.threshold = threshold
        self.power = power
        self.intra = intra
        self.random_state = random_state

    @default_errstate
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit the mixture, unless a fitted one was given.

        Parameters
        ----------
        X : array, list or iterable
            Maps as in `transform`, or batches (b, n, d) or (b, d, h, w) in an iterable that can be iterated
            repeatedly. A list of three-dimensional arrays is a list of maps (d, h, w), and images are refused, as in
            `transform`.
        y : None
            Ignored.
        sample_weight : array of shape (b, n), optional
            Weight of each descriptor of an array X, at least 0.

        Returns
        -------
        self

        Raises
        ------
        InputError
            An argument of the constructor is invalid; X contains images; or X or
            `sample_weight` is invalid, as for `GaussianMixture.fit`.
        """
        self._check_settings()
        check_not_images(X, "X")
        X = as_descriptors(X)
        if self.mixture is not None and hasattr(self.mixture, "weights_"):
            self.mixture_ = self.mixture
        else:
            recipe = GaussianMixture(self.n_components, random_state=self.random_state)
            self.mixture_ = clone(self.mixture if self.mixture is not None else recipe).fit(
                X, sample_weight=sample_weight
            )
        self.n_features_in_ = self.mixture_.means_.shape[1]
        return self

    @default_errstate
    def transform(self, X: AnyArray | Sequence[AnyArray] | Weighted, weights: Any = None) -> AnyArray:
        """Fisher vector of each map.

        Parameters
        ----------
        X : array of shape (b, n, d) or (b, d, h, w), list of arrays (n_i, d) or (d, h_i, w_i), or `Weighted`
            float32, float64, float16, bfloat16 and uint8 are read without conversion; other integers become float64.
            Integers of 8 or 16 bits and bool must be maps (b, d, h, w) or (d, h_i, w_i), because they may otherwise be
            images. Grey images (b, h, w) of other types are not recognised: they are read as descriptors (b, n, d).
        weights : array of shape (b, n), or list of arrays (n_i,), optional
            Weight of each descriptor, at least 0. Descriptors of weight 0 are ignored; a map whose weights are all 0
            has the zero vector. Omit it for `Weighted` maps, which include their weights.

        Returns
        -------
        array of shape (b, 2·k·d), or (b, 2·k·d + k) with the weight part
            In X's array library; float32 for float32, float16, bfloat16 and uint8, otherwise float64.

        Raises
        ------
        InputError
            An argument of the constructor is invalid; X has a wrong shape or number of features, maps without
            descriptors, images, or values that are not finite; or `weights` are invalid.
        NotFittedError
            `fit` was not called, and no fitted mixture was given.
        """
        self._check_settings()
        mixture = self.fitted_mixture()
        check_not_images(X, "maps")
        maps: Any = with_weights(as_descriptors(X), weights)
        arrays = [split(one)[0] for one in (maps if isinstance(maps, list) else [maps])]
        if any(getattr(one, "requires_grad", False) for one in arrays):
            message = "FisherVector.transform does not propagate gradients: pass X.detach(), or use FisherVector2d"
            warnings.warn(message, stacklevel=4)
        found: AnyArray = fisher_vectors(maps, mixture, self)
        return found

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the outputs: "u_3_17" is dimension 17 of the first moment of component 3.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        ndarray of shape (m,), object
            One name per output.
        """
        k, d = self.fitted_mixture().means_.shape
        u, v = (np.array([[f"{name}_{i}_{j}" for j in range(d)] for i in range(k)])[None] for name in "uv")
        w = np.array([[f"w_{i}" for i in range(k)]])[..., None]
        names: np.ndarray = concatenated([w, u, v] if self.weight_part else [u, v], self.order)[0].astype(object)
        return names

    def fitted_mixture(self) -> FittedMixture:
        """The mixture that `transform` uses: the one fitted by `fit` or, without `fit`, the one given.

        Raises
        ------
        NotFittedError
            `fit` was not called, and no fitted mixture was given.
        """
        if hasattr(self, "mixture_"):
            return self.mixture_
        if self.mixture is None or not hasattr(self.mixture, "weights_"):
            raise NotFittedError("This FisherVector is not fitted yet: call fit first, or pass a fitted mixture")
        return self.mixture

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True  # a single row is not a map
        return tags

    def _check_settings(self) -> None:
        check(self.order in ("component", "moment"), f'order must be "component" or "moment", got {self.order!r}')
        check_threshold(self.threshold)
        check_power(self.power)
        given = self.mixture
        learned = all(hasattr(given, name) for name in ("weights_", "means_", "variances_"))
        known = given is None or isinstance(given, GaussianMixture) or learned
        what = f"{type(given).__module__}.{type(given).__name__}"
        check(
            known,
            f"mixture must be ildfv's GaussianMixture or None, got {what}: pass "
            "GaussianMixture.from_parameters(weights, means, variances)",
        )

    # -- persistence -----------------------------------------------------------------------------------------------

    def to_tensors(self) -> dict[str, np.ndarray]:
        """The mixture's arrays by name."""
        return self._saved_mixture().to_tensors()

    def info(self) -> dict[str, Any]:
        """Settings, and the description of the mixture, as JSON values."""
        settings = {name: value for name, value in self.get_params(deep=False).items() if name != "mixture"}
        return {"estimator": type(self).__name__, "settings": settings, "mixture": self._saved_mixture().info()}

    @classmethod
    def from_tensors(cls, tensors: dict[str, np.ndarray], info: dict[str, Any]) -> Self:
        """The encoder, restored from the results of `to_tensors` and `info`."""
        check(info.get("estimator") == cls.__name__, f"model must be a {cls.__name__}, got {info.get('estimator')}")
        return cls(GaussianMixture.from_tensors(tensors, info["mixture"]), **info["settings"])

    def _saved_mixture(self) -> GaussianMixture:
        mixture = self.fitted_mixture()
        if not isinstance(mixture, GaussianMixture):
            raise InputError(
                f"mixture must be ildfv's GaussianMixture to be saved, got {type(mixture).__module__}."
                f"{type(mixture).__name__}: pass GaussianMixture.from_parameters(weights, means, variances)"
            )
        return mixture
