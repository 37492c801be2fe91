"""The hot loop, where the data are: `moments` on the CPU in C++, on NVIDIA GPUs in CUDA."""

from __future__ import annotations

import numpy as np

from ildfv.arrays import to_numpy
from ildfv.errors import check
from ildfv.kernels.cuda.interop import on_gpu
from ildfv.kernels.reference import Moments

__all__ = ["Moments", "moments", "on_gpu"]


def moments(maps, mixture, *, threshold: float = 1e-6, pooled: bool = False, weights=None) -> Moments:
    """Sums over descriptors of posterior × (1, t, t²), t = (x − mean)/sd, and the log likelihood.

    maps: (b, n, d), or channel-first (b, d, h, w), or a list of (n_i, d); NumPy, torch, CuPy, or on a GPU whatever
    speaks DLPack or `__cuda_array_interface__`; float32, float64, float16, bfloat16 or uint8.
    mixture: anything with weights_ (k,), means_ (k, d) and variances_ (k, d).
    weights: (b, n) or a list of (n_i,), finite and at least 0: how much each descriptor counts, such as the share of its
    receptive field inside a region. Descriptors of weight 0 are left out; a map without any other has sums of 0.
    Per map: s0 (b, k), s1 (b, k, d), s2 (b, k, d), log_likelihood (b,), the kind of array that came in, on its device;
    pooled over all maps: (k,), (k, d), (k, d), (), in float64. Posteriors below `threshold` count as 0; 0 counts all.
    Computed in double where maps are float64; of float32 values more than 1e19 standard deviations from every mean,
    sums of squares are infinite. InputError for wrong shapes, dtypes and values that are not finite.
    """
    first = maps[0] if isinstance(maps, (list, tuple)) and maps else maps
    kind = _library(first)
    for i, one in enumerate(maps if isinstance(maps, (list, tuple)) else (maps,)):
        check(_library(one) == kind, f"maps must be of one library, got {kind} and, in map {i}, {_library(one)}")
        masked = isinstance(one, np.ma.MaskedArray)
        check(not masked, "maps must not be masked arrays: leave out what the mask hides, as a list of (n_i, d)")
    names = ("weights_", "means_", "variances_")
    learned = all(hasattr(mixture, name) for name in names)
    check(learned, f"mixture must have {', '.join(names)} (fit it first), got {type(mixture).__name__}")
    parameters = tuple(getattr(mixture, name) for name in names)
    if on_gpu(first):
        from ildfv.kernels.cuda import moments as cuda

        return cuda.moments(maps, *parameters, threshold=threshold, pooled=pooled, descriptor_weights=weights)

    from ildfv.kernels import cpu

    parameters = tuple(to_numpy(a) for a in parameters)
    if weights is not None:
        weights = [to_numpy(a) for a in weights]
    options = {"threshold": threshold, "pooled": pooled, "descriptor_weights": weights}
    if kind != "torch":
        return _reached(cpu.moments(maps, *parameters, **options))

    import torch

    views = [_from_torch(a) for a in maps] if isinstance(maps, (list, tuple)) else _from_torch(maps)
    result = _reached(cpu.moments(views, *parameters, **options))
    return Moments(*(torch.from_numpy(a) for a in result))


def _library(a) -> str:
    """The package that an array belongs to; nested lists become NumPy's."""
    name = type(a).__module__.partition(".")[0]
    return "numpy" if name == "builtins" else name


def _reached(result: Moments) -> Moments:
    """`result`, unless values lie too far from every mean to be squared even in float64."""
    reached = result.log_likelihood.dtype != np.float64 or bool(np.isfinite(result.log_likelihood).all())
    check(reached, "maps must lie within 1e154 standard deviations of the mixture")
    return result


def _from_torch(a):
    """A NumPy view of a tensor's memory."""
    import torch

    from ildfv.kernels.cpu import BFLOAT16

    a = a.detach()
    return a.view(torch.int16).numpy().view(BFLOAT16) if a.dtype == torch.bfloat16 else a.numpy()
