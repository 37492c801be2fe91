"""Fisher vectors: scaled moments of the descriptors of a map, in the paper's or VLFeat's order."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal, Protocol, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import NotFittedError

from ildfv.arrays import check_real, dtype_name, is_array, like, namespace, to_float64, to_numpy
from ildfv.errors import InputError, check
from ildfv.estimators.base import AnyArray, Persistent, RandomState, default_errstate
from ildfv.estimators.batches import NATIVE, count
from ildfv.estimators.mixture import GaussianMixture
from ildfv.kernels import Moments, moments, on_gpu
from ildfv.kernels.checks import check_threshold
from ildfv.kernels.cuda import build, fisher
from ildfv.kernels.cuda.oom import OomRetry
from ildfv.kernels.reference import MIN_NORM, MIN_WEIGHT
from ildfv.weighted import Weighted, split

MAX_LOG_LIKELIHOOD = 1e36  # nats, absolute; squares of t overflow at 3e38 in float32


class FittedMixture(Protocol):
    """A GaussianMixture, or any object with its parameters."""

    weights_: Any
    means_: Any
    variances_: Any


class FisherVector(Persistent, TransformerMixin, BaseEstimator):
    """Fisher vectors of activation maps (the paper's Eq. 4; Perronnin, Sánchez & Mensink 2010).

        u_k = s1_k / (n √w_k)    v_k = (s2_k − s0_k) / (n √(2 w_k))    weight part = (s0_k − n w_k) / (n √w_k)

    Parameters
    ----------
    mixture : GaussianMixture or None
        A fitted mixture is used unchanged, and `transform` needs no fit. `fit` fits a clone of an unfitted mixture,
        or, for None, of GaussianMixture(n_components, random_state=random_state). Note that scikit-learn's clone
        discards parameters learned by EM but keeps those of GaussianMixture.from_parameters.
    n_components : int
        Components of the mixture if `mixture` is None.
    improved : bool
        Whether to apply the signed square root, then scale to unit L2 norm.
    order : {"component", "moment"}
        "component" is Eq. 4, [u_1, v_1, …, u_k, v_k]; "moment" is VLFeat's order, [u_1 … u_k, v_1 … v_k].
    weight_part : bool
        Whether to include the derivative by the weights, one number per component: before u_k in "component" order,
        before u_1 in "moment" order.
    threshold : float
        Posteriors below it count as 0.
    random_state : int, RandomState or None
        Of the mixture if `mixture` is None.

    Attributes
    ----------
    mixture_ : GaussianMixture

    Notes
    -----
    scikit-image's `fisher_vector` computes the same vectors in "moment" order with the weight part, except that its
    derivatives by the standard deviations have the opposite sign: see `negate_sigma_part`.
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
        random_state: RandomState = 0,
    ):
        self.mixture = mixture
        self.n_components = n_components
        self.improved = improved
        self.order = order
        self.weight_part = weight_part
        self.threshold = threshold
        self.random_state = random_state

    @default_errstate
    def fit(self, X, y=None, sample_weight=None) -> Self:
        """Fit the mixture unless a fitted one was given.

        Parameters
        ----------
        X : array, list or iterable
            Maps as in `transform`, or an iterable of batches (b, n, d) or (b, d, h, w) that can be iterated
            repeatedly. A list of three-dimensional arrays is a list of maps (d, h, w), as in `transform`.
        y : None
            Ignored.
        sample_weight : array of shape (b, n), optional
            Weight of each descriptor of an array X, at least 0.

        Returns
        -------
        self
        """
        self._check_settings()
        _check_not_images(X)
        X = _as_descriptors(X)
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
    def transform(self, X: AnyArray | Sequence[AnyArray] | Weighted, weights=None) -> AnyArray:
        """Fisher vector of each map.

        Parameters
        ----------
        X : array of shape (b, n, d) or (b, d, h, w), or list of arrays (n_i, d) or (d, h_i, w_i)
            float32, float64, float16, bfloat16 and uint8 are read without conversion; integers become float64.
        weights : array of shape (b, n), or list of arrays (n_i,), optional
            Weight of each descriptor, at least 0. Descriptors of weight 0 are ignored; a map whose weights are all 0
            has the zero vector. Omit it for `Weighted` maps, which include their weights.

        Returns
        -------
        array of shape (b, 2·k·d), or (b, 2·k·d + k) with the weight part
            In X's array library; float64 for float64, otherwise float32.

        Raises
        ------
        InputError
            Wrong shapes, maps without descriptors, non-finite values.
        """
        self._check_settings()
        self._mixture()
        maps: Any = _with_weights(_as_descriptors(X), weights)
        _descriptor_counts(maps)
        arrays = [split(one)[0] for one in (maps if isinstance(maps, list) else [maps])]
        if any(getattr(one, "requires_grad", False) for one in arrays):
            message = "FisherVector.transform does not propagate gradients: pass X.detach() if none are needed"
            warnings.warn(message, stacklevel=4)
        if on_gpu(arrays[0]):
            return OomRetry(self._vectors).joined(maps)  # on out-of-memory the batch size is halved
        return self._vectors(maps)

    def _vectors(self, maps):
        mixture = self._mixture()
        m = _moments(maps, mixture, self.threshold)
        _check_within_range(m.log_likelihood)
        make = fisher.vectors if on_gpu(m.s1) and build.available() else vectors
        options = {"improved": self.improved, "order": self.order, "weight_part": self.weight_part}
        return make(m, _descriptor_counts(maps), np.asarray(mixture.weights_, dtype=np.float64), **options)

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
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
        k, d = self._mixture().means_.shape
        u, v = (np.array([[f"{name}_{i}_{j}" for j in range(d)] for i in range(k)])[None] for name in "uv")
        w = np.array([[f"w_{i}" for i in range(k)]])[..., None]
        return _concatenated([w, u, v] if self.weight_part else [u, v], self.order)[0].astype(object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True  # a single row is not a map
        return tags

    def _check_settings(self) -> None:
        check(self.order in ("component", "moment"), f'order must be "component" or "moment", got {self.order!r}')
        check_threshold(self.threshold)
        given = self.mixture
        learned = all(hasattr(given, name) for name in ("weights_", "means_", "variances_"))
        known = given is None or isinstance(given, GaussianMixture) or learned
        what = f"{type(given).__module__}.{type(given).__name__}"
        check(
            known,
            f"mixture must be ildfv's GaussianMixture or None, got {what} "
            "(GaussianMixture.from_parameters accepts the weights, means and variances of other mixtures)",
        )

    def _mixture(self):
        if hasattr(self, "mixture_"):
            return self.mixture_
        if self.mixture is None or not hasattr(self.mixture, "weights_"):
            raise NotFittedError("This FisherVector is not fitted yet: call fit first, or pass a fitted mixture")
        return self.mixture

    # -- persistence -----------------------------------------------------------------------------------------------

    def to_tensors(self) -> dict[str, np.ndarray]:
        """The mixture's arrays by name."""
        return self._mixture().to_tensors()

    def info(self) -> dict:
        """Settings and the mixture's numbers as JSON values."""
        settings = {name: value for name, value in self.get_params(deep=False).items() if name != "mixture"}
        return {"estimator": type(self).__name__, "settings": settings, "mixture": self._mixture().info()}

    @classmethod
    def from_tensors(cls, tensors: dict[str, np.ndarray], info: dict) -> Self:
        """The encoder from which `tensors` and `info` were taken."""
        check(info.get("estimator") == cls.__name__, f"model must be a {cls.__name__}, got {info.get('estimator')}")
        return cls(GaussianMixture.from_tensors(tensors, info["mixture"]), **info["settings"])


def _with_weights(maps, weights):
    """Weighted maps: an array of maps, or a list of single ones; unchanged if there are no weights."""
    if weights is None:
        return maps
    if not isinstance(maps, list):
        return Weighted(maps, to_numpy(weights))
    check(len(weights) == len(maps), f"weights must be given for {len(maps)} maps, got {len(weights)}")
    return [Weighted(one, to_numpy(w)) for one, w in zip(maps, weights, strict=True)]


def _moments(maps, mixture, threshold: float) -> Moments:
    if not isinstance(maps, list):
        maps, weights = split(maps)
        return moments(maps, mixture, threshold=threshold, weights=weights)
    arrays, each = zip(*map(split, maps), strict=True)
    return moments(list(arrays), mixture, threshold=threshold, weights=None if each[0] is None else each)


def _as_descriptors(maps):
    """Maps in the layouts and dtypes that the kernels read: (d, h, w) in a list as (h·w, d), integers as float64."""
    if isinstance(maps, Weighted):
        return Weighted(_as_descriptors(maps.maps), maps.weights)
    if isinstance(maps, (list, tuple)):
        return [_as_descriptors(_as_rows(one)) if is_array(one) else one for one in maps]
    if not is_array(maps) or dtype_name(maps) in NATIVE:
        return maps
    check_real(maps, "maps")
    return to_float64(maps)


def _as_rows(one):
    if one.ndim != 3:
        return one
    xp, (d, h, w) = namespace(one), one.shape
    return xp.permute_dims(xp.reshape(one, (d, h * w)), (1, 0))


def _check_not_images(maps) -> None:
    """InputError for 8-bit arrays without a channel axis: rows of grey images are not descriptors."""
    listed = isinstance(maps, (list, tuple))
    for one in maps if listed else (maps,):
        image = is_array(one) and dtype_name(one) == "uint8" and one.ndim == (2 if listed else 3)
        check(
            not image,
            "maps without a channel axis must not be uint8, which may be grey images: pass images as (b, d, h, w) with "
            "d features per pixel, or convert descriptors (b, n, d) to float32",
        )


def _descriptor_counts(maps) -> np.ndarray:
    """Number of descriptors of each map, or the sum of their weights, (b,); InputError if a map has none."""
    if isinstance(maps, Weighted):
        return maps.totals
    if isinstance(maps, (list, tuple)) and len(maps) > 0 and isinstance(maps[0], Weighted):
        return np.array([one.weights.sum() for one in maps])
    if isinstance(maps, (list, tuple)):
        check(len(maps) > 0, "maps must hold at least one map, got none")
        for i, x in enumerate(maps):
            check(is_array(x) and x.ndim == 2, f"maps[{i}] must be an array of shape (n, d), got {np.shape(x)}")
        n = [x.shape[0] for x in maps]
    else:
        shape = tuple(getattr(maps, "shape", ()))
        if len(shape) not in (3, 4):
            raise InputError(f"maps must be (b, n, d), (b, d, h, w) or a list of (n_i, d), got shape {shape}")
        check(shape[0] > 0, "maps must hold at least one map, got none")
        n = [count(maps[:1])] * shape[0]
    check(min(n) > 0, f"maps[{n.index(min(n))}] must hold at least one descriptor, got none")
    return np.array(n, dtype=np.float64)


def _check_within_range(log_likelihoods) -> None:
    """InputError for float32 maps so far from the mixture that sums of t² overflow, which would give NaN."""
    xp = namespace(log_likelihoods)  # (b,), each at least −½ of those sums
    far = "float32" in str(log_likelihoods.dtype) and not bool(xp.all(xp.abs(log_likelihoods) < MAX_LOG_LIKELIHOOD))
    check(not far, "float32 maps must lie within 1e18 standard deviations of the mixture: pass float64")


def negate_sigma_part(vectors, n_components: int):
    """Vectors in scikit-image's sign convention, or back from it.

    Parameters
    ----------
    vectors : array of shape (b, 2·k·d + k)
        From FisherVector(order="moment", weight_part=True) or from scikit-image's `fisher_vector`.
    n_components : int
        k.

    Returns
    -------
    array of shape (b, 2·k·d + k)
    """
    k, length = n_components, vectors.shape[-1]
    check(
        vectors.ndim == 2 and length > k and (length - k) % (2 * k) == 0,
        f"vectors must have shape (b, 2·k·d + k) with k = {k}, got {tuple(vectors.shape)}",
    )
    first = k + (length - k) // 2
    return namespace(vectors).concat([vectors[:, :first], -vectors[:, first:]], axis=1)


def vectors(m: Moments, counts, weights, *, improved: bool = True, order: str = "component", weight_part: bool = False):
    """Fisher vectors (b, 2·k·d), or (b, 2·k·d + k) with the weight part, from the moments of b maps.

    counts (b,) are the descriptors of each map, or the sums of their weights; weights (k,) are those of the mixture.
    Array API code; the CUDA version is `ildfv.kernels.cuda.fisher.vectors`.
    """
    used = weights >= MIN_WEIGHT
    total = counts
    counts = np.where(counts > 0, counts, 1.0)  # a map without descriptors that count has sums of 0
    scale = np.where(used, 1 / np.sqrt(np.where(used, weights, 1.0)), 0.0) / counts[:, None]  # (b, k)
    kind = "float64" if "float64" in str(m.s1.dtype) else "float32"
    s0 = m.s0[:, :, None]
    first = like(scale[:, :, None], m.s1, kind)  # (b, k, 1)
    parts = [m.s1 * first, (m.s2 - s0) * (first / 2**0.5)]
    if weight_part:
        expected = like((total[:, None] * weights)[:, :, None], m.s1, kind)
        parts.insert(0, (s0 - expected) * first)
    whole = _concatenated(parts, order)
    return _improved(whole) if improved else whole


def _concatenated(parts: list, order: str):
    """Parts (b, k, ·) concatenated by component or by moment."""
    xp = namespace(*parts)
    b = parts[0].shape[0]
    if order == "component":
        return xp.reshape(xp.concat(parts, axis=2), (b, -1))
    return xp.concat([xp.reshape(part, (b, -1)) for part in parts], axis=1)


def _improved(whole):
    """Signed square root, then unit L2 norm; zero vectors remain zero (Perronnin, Sánchez & Mensink 2010)."""
    xp = namespace(whole)
    rooted = xp.sign(whole) * xp.sqrt(xp.abs(whole))
    norms = xp.sqrt(xp.sum(rooted * rooted, axis=1, keepdims=True))
    return rooted / xp.maximum(norms, xp.full_like(norms, MIN_NORM))
