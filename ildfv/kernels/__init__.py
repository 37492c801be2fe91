"""The kernels, for maps of any array library.

`moments` runs on the device that holds the maps: the CPU (C++) or an NVIDIA GPU (CUDA). `fisher_vectors` runs on the
CPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ildfv.arrays import to_numpy
from ildfv.errors import check
from ildfv.kernels.checks import OUT_OF_RANGE
from ildfv.kernels.cuda.interop import on_gpu
from ildfv.kernels.reference import Moments

__all__ = ["Moments", "fisher_vectors", "moments", "on_gpu"]


def moments(maps: Any, mixture: Any, *, threshold: float = 1e-6, pooled: bool = False, weights: Any = None) -> Moments:
    """Sums over descriptors of posterior × (1, t, t²), t = (x − mean)/sd, and the log likelihood.

    Parameters
    ----------
    maps : array of shape (b, n, d) or, channel-first, (b, d, h, w), or list of arrays of shape (n_i, d)
        NumPy, torch or CuPy arrays, or GPU arrays that support DLPack or `__cuda_array_interface__`; float32,
        float64, float16, bfloat16 or uint8. For float64, sums are computed in double precision.
    mixture : object
        Has `weights_` (k,), `means_` (k, d) and `variances_` (k, d).
    threshold : float, default=1e-6
        In [0, 1). Posteriors below it are set to 0 in s0, s1 and s2, not in the log likelihood; 0 keeps all of them.
    pooled : bool, default=False
        Whether to sum over all maps instead of over each map.
    weights : array of shape (b, n) or list of arrays of shape (n_i,), optional
        Weight of each descriptor in all sums, such as the share of its receptive field that is inside a region; finite
        and ≥ 0. For maps (b, d, h, w), n = h·w. Descriptors of weight 0 are ignored; a map whose weights are all 0 has
        sums of 0. Default: 1 each.

    Returns
    -------
    Moments
        s0 (b, k), s1 (b, k, d), s2 (b, k, d) and log_likelihood (b,), in the array library of `maps` and on their
        device; float64 if the maps are float64, otherwise float32. If pooled: (k,), (k, d), (k, d) and (), float64.
        The float32 sums of squares of values that are more than 1e19 standard deviations from every mean are infinite.

    Raises
    ------
    InputError
        If an argument is invalid: for example, maps of several dtypes, a mixture that is not fitted, or a value that is
        not finite; or if float64 values are more than 1e154 standard deviations from every mean. On a GPU also if
        d > 4096 or k > 1024.
    MissingPackageError
        If the maps are on a GPU and the CUDA kernels are not installed.
    """
    parameters = _parameters(maps, mixture)
    if on_gpu(_first(maps)):
        from ildfv.kernels.cuda.moments import moments as moments_on_gpu

        return moments_on_gpu(maps, *parameters, threshold=threshold, pooled=pooled, descriptor_weights=weights)

    from ildfv.kernels import cpu

    options = {"threshold": threshold, "pooled": pooled}
    return Moments(*_on_cpu(cpu.moments, maps, parameters, weights, 3, options))


def fisher_vectors(maps: Any, mixture: Any, *, weights: Any = None, **options: Any) -> tuple[Any, Any]:
    """Fisher vectors (b, 2·k·d), or (b, 2·k·d + k) with the weight part, and log likelihoods (b,), of maps on the CPU.

    maps, mixture, weights: as in `moments`. options: improved, order, weight_part and threshold, as in
    `ildfv.kernels.cpu.fisher_vectors`.
    """
    from ildfv.kernels import cpu

    vectors, likelihoods = _on_cpu(cpu.fisher_vectors, maps, _parameters(maps, mixture), weights, 1, options)
    return vectors, likelihoods


def _first(maps: Any) -> Any:
    return maps[0] if isinstance(maps, (list, tuple)) and maps else maps


def _parameters(maps: Any, mixture: Any) -> tuple[Any, Any, Any]:
    """Weights, means and variances of the mixture.

    InputError: the maps are arrays of several libraries or masked arrays, or the mixture is not fitted.
    """
    kind = _library(_first(maps))
    arrays = maps if isinstance(maps, (list, tuple)) else (maps,)
    if {type(a) for a in arrays} != {np.ndarray}:  # a check of each map would be slow for many small NumPy arrays
        for i, a in enumerate(arrays):
            other = _library(a)
            check(other == kind, f"maps must all be arrays of one library, got {kind} and, in map {i}, {other}")
            masked = isinstance(a, np.ma.MaskedArray)
            check(not masked, "maps must not be masked arrays: pass the unmasked descriptors as a list of (n_i, d)")
    names = ("weights_", "means_", "variances_")
    fitted = all(hasattr(mixture, name) for name in names)
    check(fitted, f"mixture must have {', '.join(names)}, got {type(mixture).__name__} without them: fit it first")
    return mixture.weights_, mixture.means_, mixture.variances_


def _on_cpu(kernel: Any, maps: Any, parameters: Any, weights: Any, likelihood: int, options: dict[str, Any]) -> Any:
    """The arrays that a function of `ildfv.kernels.cpu` returns, in the library of the maps.

    likelihood: index of the log likelihood among the results.
    """
    parameters = tuple(to_numpy(a) for a in parameters)
    if weights is not None:
        weights = [to_numpy(a) for a in weights]
    of_torch = _library(_first(maps)) == "torch"
    if of_torch:
        maps = [_from_torch(a) for a in maps] if isinstance(maps, (list, tuple)) else _from_torch(maps)
    results = kernel(maps, *parameters, descriptor_weights=weights, **options)
    _check_range(results[likelihood])
    if not of_torch:
        return results

    import torch

    return tuple(torch.from_numpy(a) for a in results)


def _library(a: Any) -> str:
    """The package that the array's type belongs to; "numpy" for nested lists."""
    name = type(a).__module__.partition(".")[0]
    return "numpy" if name == "builtins" else name


def _check_range(log_likelihood: np.ndarray) -> None:
    """Raises InputError if values are so far from every mean that their squares overflow float64."""
    in_range = log_likelihood.dtype != np.float64 or bool(np.isfinite(log_likelihood).all())
    check(in_range, OUT_OF_RANGE)


def _from_torch(a: Any) -> Any:
    """A NumPy view of the tensor."""
    import torch

    from ildfv.kernels.tables import BFLOAT16

    a = a.detach()
    return a.view(torch.int16).numpy().view(BFLOAT16) if a.dtype == torch.bfloat16 else a.numpy()
