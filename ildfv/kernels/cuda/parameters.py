"""Mixtures prepared for the CUDA kernels: they are checked once, and uploaded once to each device.

The uploaded parameters are the centre, a, b and c of csrc/common/mixture.h. Tensor cores also use those of
csrc/cuda/screened.h.
"""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np

from ildfv.kernels.checks import check_mixture
from ildfv.kernels.cuda.device import Device
from ildfv.kernels.cuda.launches import CLOSE, SLACK

KEPT = 4  # number of prepared mixtures that are kept: enough for a few threads that use one mixture each


class Parameters(NamedTuple):
    """Addresses of a mixture's parameters on a device."""

    centre: int
    scale: int
    shift: int
    constant: int


class Products(NamedTuple):
    """Addresses of a mixture's parameters for tensor cores on a device. close: 1 or 0, as in `tensor_cores`."""

    squares: int
    products: int
    base: int
    slack: int
    close: int


NO_PRODUCTS = Products(0, 0, 0, 0, 0)


class PreparedMixture:
    """A diagonal Gaussian mixture in read-only float64 arrays, with its parameters on the devices that have used it.

    Can be passed as `mixture` to `ildfv.kernels.moments`, which recognises the arrays by identity.

    Parameters
    ----------
    weights : array of shape (k,)
    means : array of shape (k, d)
    variances : array of shape (k, d)

    Raises
    ------
    InputError
        For invalid shapes and values.
    """

    def __init__(self, weights, means, variances):
        weights, means, variances = check_mixture(weights, means, variances)
        self.weights_, self.means_, self.variances_ = _frozen(weights), _frozen(means), _frozen(variances)
        self.arrays = (self.weights_, self.means_, self.variances_)
        self.k, self.d = self.means_.shape
        self._uploaded: dict[tuple, tuple] = {}
        self._lock = threading.Lock()
        _alive[id(self.means_)] = self

    def equals(self, given: tuple) -> bool:
        """Whether the given arrays have the values of this mixture. Values are compared, because arrays are mutable."""
        return all(a.shape == own.shape and bool((a == own).all()) for a, own in zip(given, self.arrays, strict=True))

    def on(self, device: Device, real: str) -> Parameters:
        """The result of `fma` on the device."""
        return Parameters(*self._on(device, real, fma))

    def products_on(self, device: Device) -> Products:
        """The result of `tensor_cores` on the device."""
        return Products(*self._on(device, "float32", tensor_cores))

    @cached_property
    def within_bfloat16(self) -> bool:
        """Whether the parameters of `tensor_cores` are far from the limits of bfloat16, which has the range of float32.

        This holds if, in each dimension, 1/sd is between 2⁻⁴⁰ and 2⁴⁰ and the mean is within 2⁴⁰ sd of the centre.
        """
        _, scale, shift, _ = _exact(self.arrays, "float32")
        return bool(scale.min() >= 2.0**-40 and max(scale.max(), np.abs(shift).max()) <= 2.0**40)

    def _on(self, device: Device, real: str, make) -> tuple:
        """make(mixture, real), with each array replaced by its address on the device.

        The arrays are uploaded by the first call with the same device, `real` and `make`.
        """
        key = (*device.key, real, make)
        found = self._uploaded.get(key)
        if found is None:
            with self._lock:
                found = self._uploaded.get(key)
                if found is None:
                    found = self._uploaded[key] = _upload(device, make(self.arrays, real))
        return found[0]


_alive: WeakValueDictionary[int, PreparedMixture] = WeakValueDictionary()  # keyed by the id of the array of means
_recent: tuple[
    PreparedMixture, ...
] = ()  # most recently used first; replaced as a whole, because other threads read it
_lock = threading.Lock()


def prepared(weights, means, variances) -> PreparedMixture:
    """The prepared mixture that owns these arrays; otherwise one of the last KEPT with equal values, or a new one."""
    global _recent
    ready = _alive.get(id(means))
    if ready is not None and all(a is own for a, own in zip((weights, means, variances), ready.arrays, strict=True)):
        return ready
    given = tuple(a if type(a) is np.ndarray else np.asarray(a) for a in (weights, means, variances))
    recent = _recent
    for mixture in recent:
        if mixture.equals(given):
            break
    else:
        mixture = PreparedMixture(*given)
    if not recent or recent[0] is not mixture:
        with _lock:
            _recent = (mixture, *(other for other in _recent if other is not mixture))[:KEPT]
    return mixture


def _frozen(a: np.ndarray) -> np.ndarray:
    """A read-only copy of `a`."""
    a = a.copy()
    a.flags.writeable = False
    return a


def _upload(device: Device, made: tuple) -> tuple[tuple, Any]:
    """`made` with each array replaced by its address on the device, and the memory that contains the arrays."""
    arrays = [a for a in made if isinstance(a, np.ndarray)]
    memory = device.upload(np.concatenate([a.ravel() for a in arrays]))
    device.settle()  # another stream may use the memory next
    address, places = device.address(memory), []
    for a in arrays:
        places.append(address)
        address += a.nbytes
    return (*places, *(a for a in made if not isinstance(a, np.ndarray))), memory


def _exact(mixture: tuple, real: str) -> tuple:
    """centre (d,), scale (k, d), shift (k, d), constant (k,) of mixture.h: the centre in `real`, others in float64."""
    weights, means, variances = mixture
    # The centre is weighted towards narrow components, where the rounding of x − centre matters most.
    lean = weights[:, None] / variances
    centre = ((lean * means).sum(axis=0) / lean.sum(axis=0)).astype(real)
    scale = 1.0 / np.sqrt(variances)
    shift = (centre - means) * scale
    with np.errstate(divide="ignore"):  # a weight of 0 gives a score of −∞ and a posterior of 0
        constant = np.log(weights) - 0.5 * (means.shape[1] * np.log(2 * np.pi) + np.log(variances).sum(axis=1))
    return centre, scale, shift, constant


def fma(mixture: tuple, real: str) -> tuple:
    """The parameters for FMA instructions: centre, scale, shift and constant, each rounded once to `real`."""
    return tuple(a.astype(real) for a in _exact(mixture, real))


def tensor_cores(mixture: tuple, real: str) -> tuple:
    """squares and products (k, d4), base and slack (k,) of screened.h; whether all means are close to the centre.

    d4: d rounded up to a multiple of 4. A mean is close if it is within CLOSE standard deviations in each dimension.
    """
    _, scale, shift, constant = _exact(mixture, real)
    spread = (shift**2).sum(axis=1)  # Σ b², (k,)
    base = constant - 0.5 * spread
    known = np.where(np.isfinite(constant), constant, 0.0)  # the score of a component of weight 0 is exactly −∞
    slack = SLACK * (2 * known + spread) + 1e-6 * (1 + np.abs(known))
    parts = _bfloat16_parts(scale**2), _bfloat16_parts(2 * scale * shift)
    return *parts, base.astype(real), slack.astype(real), int(np.abs(shift).max() <= CLOSE)


def _bfloat16_parts(a: np.ndarray) -> np.ndarray:
    """`a` (k, d) as float32-sized words (k, d4): per four dimensions, four high parts, then four low parts.

    d4: d rounded up to a multiple of 4.
    """
    a = np.pad(a, ((0, 0), (0, -a.shape[1] % 4)))
    high = _bfloat16(a)
    low = _bfloat16(a - (high.astype(np.uint32) << 16).view(np.float32))
    fours = np.stack([part.reshape(len(a), -1, 4) for part in (high, low)], axis=2)  # (k, d4/4, 2, 4)
    return np.ascontiguousarray(fours).view(np.float32).reshape(a.shape)


def _bfloat16(a: np.ndarray) -> np.ndarray:
    """The bits of `a` rounded to bfloat16, as uint16."""
    bits = a.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
