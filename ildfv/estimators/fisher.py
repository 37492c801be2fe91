"""Fisher vectors: the moments of a map's descriptors, scaled, in the paper's order or VLFeat's."""

from __future__ import annotations

from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import NotFittedError

from ildfv.arrays import dtype_name, is_array, like, namespace
from ildfv.errors import InputError, check
from ildfv.estimators.base import Persistent
from ildfv.estimators.batches import NATIVE, count
from ildfv.estimators.mixture import GaussianMixture
from ildfv.kernels import Moments, moments, on_gpu
from ildfv.kernels.checks import check_threshold
from ildfv.kernels.cuda import device as modules
from ildfv.kernels.cuda import fisher as on_device
from ildfv.kernels.cuda.oom import OomRetry
from ildfv.kernels.reference import LEAST_NORM, LEAST_WEIGHT

MAX_LOG_LIKELIHOOD = 1e36  # nats; squares of t end at 3e38 in float32


class FisherVector(Persistent, TransformerMixin, BaseEstimator):
    """Fisher vectors of activation maps (the paper's Eq. 4; Perronnin, Sánchez & Mensink 2010).

    mixture: a GaussianMixture; one that has learned is used as it is and transform needs no fit, one that has not is
    a recipe: fit learns a copy. None: fit learns GaussianMixture(n_components, random_state=random_state).
    (scikit-learn's clone forgets what a mixture learned by EM, and keeps GaussianMixture.from_parameters.) improved:
    signed square root, then unit L2 norm. order: "component" is Eq. 4, [u_1, v_1, …, u_k, v_k]; "moment" is VLFeat's,
    [u_1 … u_k, v_1 … v_k]. weight_part: also the derivative by the weights, one number a component: before u_k in
    "component", all k before u_1 in "moment". threshold: posteriors below count as 0; 0 counts all.

        u_k = s1_k / (n √w_k)    v_k = (s2_k − s0_k) / (n √(2 w_k))    weight part = (s0_k − n w_k) / (n √w_k)
    """

    def __init__(
        self,
        mixture=None,
        *,
        n_components=32,
        improved=True,
        order="component",
        weight_part=False,
        threshold=1e-6,
        random_state=0,
    ):
        self.mixture = mixture
        self.n_components = n_components
        self.improved = improved
        self.order = order
        self.weight_part = weight_part
        self.threshold = threshold
        self.random_state = random_state

    def fit(self, X, y=None) -> Self:
        """Learns the mixture, unless one that has learned was given. X: maps as in transform, or a stream of them."""
        self._check_settings()
        for maps in X if isinstance(X, (list, tuple)) else (X,):
            readable = not is_array(maps) or dtype_name(maps) in NATIVE
            check(readable, f"maps must be {', '.join(NATIVE)}, as the kernels read them, got {dtype_name(maps)}")
        if self.mixture is not None and hasattr(self.mixture, "weights_"):
            self.mixture_ = self.mixture
        else:
            recipe = GaussianMixture(self.n_components, random_state=self.random_state)
            self.mixture_ = clone(self.mixture if self.mixture is not None else recipe).fit(X)
        self.n_features_in_ = self.mixture_.means_.shape[1]
        return self

    def transform(self, X):
        """Fisher vectors of each map, (b, 2·k·d), or (b, 2·k·d + k) with the weight part; the kind of array that X is.

        X: (b, n, d), or (b, d, h, w) as a CNN gives it, or a list of (n_i, d); float32, float64, float16, bfloat16 or
        uint8. float64 gives float64, the rest float32. Errors: InputError for other shapes, no descriptors,
        non-finite values.
        """
        self._check_settings()
        self._mixture()
        _descriptor_counts(X)
        if on_gpu(X[0] if isinstance(X, (list, tuple)) else X):
            return OomRetry(self._vectors).joined(X)  # what does not fit in its memory goes in halves
        return self._vectors(X)

    def _vectors(self, maps):
        mixture = self._mixture()
        m = moments(maps, mixture, threshold=self.threshold)
        _check_within_range(m.log_likelihood)
        make = on_device.vectors if on_gpu(m.s1) and modules.available() else vectors
        options = {"improved": self.improved, "order": self.order, "weight_part": self.weight_part}
        return make(m, _descriptor_counts(maps), np.asarray(mixture.weights_, dtype=np.float64), **options)

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """A name for each number of a Fisher vector: "u_3_17" is dimension 17 of component 3's first moment."""
        k, d = self._mixture().means_.shape
        u, v = (np.array([[f"{name}_{i}_{j}" for j in range(d)] for i in range(k)])[None] for name in "uv")
        w = np.array([[f"w_{i}" for i in range(k)]])[..., None]
        return _concatenated([w, u, v] if self.weight_part else [u, v], self.order)[0].astype(object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True  # a row alone is not a map
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
            "(GaussianMixture.from_parameters takes weights, means and variances of any)",
        )

    def _mixture(self):
        if hasattr(self, "mixture_"):
            return self.mixture_
        if self.mixture is None or not hasattr(self.mixture, "weights_"):
            raise NotFittedError("This FisherVector is not fitted yet: call fit first, or give it a learned mixture")
        return self.mixture

    # -- tensors: those of the mixture -----------------------------------------------------------------------------

    def to_tensors(self) -> dict[str, np.ndarray]:
        """The mixture's arrays by name."""
        return self._mixture().to_tensors()

    def info(self) -> dict:
        """Settings and the mixture's numbers, ready for JSON."""
        settings = {name: value for name, value in self.get_params(deep=False).items() if name != "mixture"}
        return {"estimator": type(self).__name__, "settings": settings, "mixture": self._mixture().info()}

    @classmethod
    def from_tensors(cls, tensors: dict[str, np.ndarray], info: dict) -> Self:
        """The encoder that gave `tensors` and `info`."""
        check(info.get("estimator") == cls.__name__, f"model must be a {cls.__name__}, got {info.get('estimator')}")
        return cls(GaussianMixture.from_tensors(tensors, info["mixture"]), **info["settings"])


def _descriptor_counts(maps) -> np.ndarray:
    """The number of descriptors of each map, (b,); InputError where a map has none."""
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
    """InputError for float32 maps so far away that the sums of t² may be infinite (a vector would be NaN)."""
    xp = namespace(log_likelihoods)  # (b,), each at least −½ of those sums
    far = "float32" in str(log_likelihoods.dtype) and not bool(xp.all(xp.abs(log_likelihoods) < MAX_LOG_LIKELIHOOD))
    check(not far, "maps must lie within 1e18 standard deviations of the mixture in float32: pass float64")


def vectors(m: Moments, counts, weights, *, improved: bool = True, order: str = "component", weight_part: bool = False):
    """Fisher vectors (b, 2·k·d), or (b, 2·k·d + k) with the weight part, of moments of b maps, of any array library.

    counts (b,): descriptors of each map; weights (k,). The twin of `ildfv.kernels.cuda.fisher.vectors`.
    """
    used = weights >= LEAST_WEIGHT
    scale = np.where(used, 1 / np.sqrt(np.where(used, weights, 1.0)), 0.0) / counts[:, None]  # (b, k)
    kind = "float64" if "float64" in str(m.s1.dtype) else "float32"
    s0 = m.s0[:, :, None]
    first = like(scale[:, :, None], m.s1, kind)  # (b, k, 1)
    parts = [m.s1 * first, (m.s2 - s0) * (first / 2**0.5)]
    if weight_part:
        expected = like((counts[:, None] * weights)[:, :, None], m.s1, kind)
        parts.insert(0, (s0 - expected) * first)
    whole = _concatenated(parts, order)
    return _improved(whole) if improved else whole


def _concatenated(parts: list, order: str):
    """Parts (b, k, ·) side by side: component after component, or part after part."""
    xp = namespace(*parts)
    b = parts[0].shape[0]
    if order == "component":
        return xp.reshape(xp.concat(parts, axis=2), (b, -1))
    return xp.concat([xp.reshape(part, (b, -1)) for part in parts], axis=1)


def _improved(whole):
    """Signed square root, then unit L2 norm; zero stays zero (Perronnin, Sánchez & Mensink 2010)."""
    xp = namespace(whole)
    rooted = xp.sign(whole) * xp.sqrt(xp.abs(whole))
    norms = xp.sqrt(xp.sum(rooted * rooted, axis=1, keepdims=True))
    return rooted / xp.maximum(norms, xp.full_like(norms, LEAST_NORM))
