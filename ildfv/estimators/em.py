"""EM for a diagonal mixture: sums over descriptors (E step) and the parameters computed from them (M step)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from ildfv.arrays import check_real, check_shape, like, namespace, to_numpy
from ildfv.errors import InputError, check
from ildfv.estimators.base import Sums
from ildfv.estimators.layouts import check_place, count, features
from ildfv.kernels import moments, on_gpu
from ildfv.kernels.cuda import build, em
from ildfv.kernels.reference import MIN_MASS
from ildfv.weighted import split

# Posteriors below this value are set to 0: they contribute less than the rounding error of float32 sums. The kernel can
# then skip most components. On CNN-F activations this takes a quarter to a half of the time of threshold 0.
THRESHOLD = 1e-12


@dataclass(frozen=True)
class Parameters:
    """A diagonal mixture, float64: weights_ (k,) with sum 1, means_ (k, d), variances_ (k, d)."""

    weights_: np.ndarray
    means_: np.ndarray
    variances_: np.ndarray

    @classmethod
    def checked(cls, weights, means, variances) -> Parameters:
        """Parameters from arrays or lists; InputError if they are not a valid mixture."""
        weights, means, variances = (
            _numbers(a, name) for a, name in ((weights, "weights"), (means, "means"), (variances, "variances"))
        )
        check(means.ndim == 2 and means.size > 0, f"means must have shape (k, d) with k, d ≥ 1, got {means.shape}")
        check_shape(weights, "weights", means.shape[:1])
        check_shape(variances, "variances", means.shape)
        check(bool(np.isfinite(means).all()), "means must be finite, got NaN or inf")
        check(bool((weights >= 0).all()), f"weights must be at least 0, got {weights.min()}")
        check(abs(weights.sum() - 1) < 1e-6, f"weights must sum to 1, got {weights.sum()}")
        smallest = variances.min()
        check(smallest > 0, f"variances must be positive, got {smallest}")
        check(bool(np.isfinite(variances).all()), "variances must be finite, got inf")
        return cls(weights, means, variances)

    def overall(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean (d,) and variance (d,) of the whole mixture, by the law of total variance."""
        mean = self.weights_ @ self.means_
        return mean, self.weights_ @ (self.variances_ + (self.means_ - mean) ** 2)


def _numbers(a, name: str) -> np.ndarray:
    """`a`, an array or nested list, as float64."""
    try:
        a = to_numpy(a)
        check_real(a, name)
        return a.astype(np.float64)
    except ValueError as error:
        raise error if isinstance(error, InputError) else InputError(f"{name} must be an array: {error}") from error


class MixtureSums(Sums):
    """The sums of one E step: count (or weight) of descriptors, moments (k,), (k, d), (k, d), and log likelihood.

    Parameters
    ----------
    mixture : object with weights_ (k,), means_ (k, d) and variances_ (k, d)
        Parameters of the E step. Later changes of this object have no effect.
    """

    def __init__(self, mixture):
        self._parameters = Parameters(mixture.weights_, mixture.means_, mixture.variances_)
        k, d = self._parameters.means_.shape
        super().__init__(count=(), s0=(k,), s1=(k, d), s2=(k, d), log_likelihood=())

    def update(self, batch, *, name: str = "batch") -> Self:
        """Add the descriptors of a batch (m, d), (b, n, d) or (b, d, h, w); `name` identifies it in errors."""
        d = self._parameters.means_.shape[1]
        check(
            features(batch) == d,
            f"{name} must have {d} features per descriptor like the mixture, got {features(batch)}",
        )
        maps, weights = split(batch)
        if maps.ndim == 2:
            maps, weights = maps[None, ...], None if weights is None else weights[None, :]
        try:
            sums = moments(maps, self._parameters, threshold=THRESHOLD, pooled=True, weights=weights)
        except InputError:
            check_place(batch, name)  # the kernel only detects that a value is not finite; this reports its row
            raise
        likelihood = float(sums.log_likelihood)
        check(np.isfinite(likelihood), f"log likelihood of {name} must be finite, got {likelihood}: rescale the values")
        self._add("count", float(count(batch)) if weights is None else float(weights.sum()))
        for key, value in sums._asdict().items():
            self._add(key, value)  # sums on a GPU stay there until the M step
        return self

    @property
    def mean_log_likelihood(self) -> float:
        """Log likelihood per descriptor at the parameters of this E step."""
        return float(self.log_likelihood) / float(self.count)

    def finish(self, *, floor: np.ndarray | float = 0.0, inertia: float = 0.0) -> Parameters:
        """The M step: parameters of highest expected likelihood.

        Parameters
        ----------
        floor : float or ndarray of shape (d,)
            Smallest variance.
        inertia : float
            Weight of the current parameters: they count as this many additional descriptors drawn from the current
            mixture, which adds inertia·w to s0, 0 to s1 and inertia·w to s2. For stepwise EM; 0 is the exact M step.
        """
        check(float(self.count) > 0, "sums must contain at least one descriptor, got 0")
        parameters = self._parameters
        step = em.m_step if on_gpu(self.s1) and build.available() else m_step
        s0, means, variances = step(
            self.s0, self.s1, self.s2, parameters.weights_, parameters.means_, parameters.variances_, inertia=inertia
        )
        return _without_empty(np.array(s0), np.array(means), np.maximum(variances, floor))


def m_step(s0, s1, s2, weights, means, variances, *, inertia: float = 0.0) -> tuple:
    """Masses (k,), means (k, d) and variances (k, d) as NumPy arrays, from sums computed at the given parameters.

    The sums may be of any array library. inertia: weight of the given parameters, in descriptors. The CUDA version is
    `ildfv.kernels.cuda.em.m_step`.
    """
    xp = namespace(s1)
    weights, means, variances = (like(a, s1) for a in (weights, means, variances))
    prior = inertia * weights  # (k,)
    s0 = s0 + prior
    mass = xp.where(s0 > MIN_MASS, s0, MIN_MASS)[:, None]  # empty components are replaced later
    shift = s1 / mass  # (k, d), in standard deviations
    means = means + xp.sqrt(variances) * shift
    variances = variances * ((s2 + prior[:, None]) / mass - shift**2)
    return tuple(to_numpy(a) for a in (s0, means, variances))  # parameters are always NumPy arrays


def _without_empty(s0: np.ndarray, means: np.ndarray, variances: np.ndarray) -> Parameters:
    """Parameters in which each empty component is replaced by half of the component with the largest mass."""
    for empty in np.flatnonzero(s0 < MIN_MASS):
        split_component(s0, means, variances, int(s0.argmax()), into=int(empty))
    return Parameters(s0 / s0.sum(), means, variances)


def split_component(masses: np.ndarray, means: np.ndarray, variances: np.ndarray, component: int, *, into: int) -> None:
    """Split `component` into itself and `into`, in place: masses (k,), means (k, d), variances (k, d).

    The two means are half a standard deviation below and above the old one, in the dimension of largest variance. The
    split is deterministic, so that it is the same on all ranks and in repeated runs.
    """
    widest = int(variances[component].argmax())
    step = 0.5 * np.sqrt(variances[component, widest])
    masses[component] = masses[into] = masses[component] / 2
    means[into], variances[into] = means[component], variances[component]
    means[component, widest] -= step
    means[into, widest] += step
