"""The moments kernel on NVIDIA GPUs: checks of the input and of the results. Counterpart of `ildfv.kernels.cpu`."""

from __future__ import annotations

import numpy as np

from ildfv.arrays import to_numpy
from ildfv.errors import check
from ildfv.kernels.checks import OUT_OF_RANGE, check_dimensions, check_threshold
from ildfv.kernels.cuda import launches
from ildfv.kernels.cuda.checked import checked_weights, first_bad_map
from ildfv.kernels.cuda.device import Device, device_of, own_arrays
from ildfv.kernels.cuda.layout import merged, ragged, uniform
from ildfv.kernels.cuda.parameters import prepared
from ildfv.kernels.cuda.run import Run
from ildfv.kernels.reference import Moments

_variant: str | None = None


def set_variant(name: str | None) -> None:
    """Sets the kernel variant, one of `launches.VARIANTS`; None: chosen by shape and device. For tests and benchmarks.

    InputError: an unknown variant.
    """
    global _variant
    check(name is None or name in launches.VARIANTS, f"variant must be one of {launches.VARIANTS}, got {name!r}")
    _variant = name


def moments(
    maps, weights, means, variances, *, threshold: float = 1e-6, pooled: bool = False, descriptor_weights=None
) -> Moments:
    """Sums over descriptors of posterior × (1, t, t²), t = (x − mean)/sd, and the log likelihood.

    Like `ildfv.kernels.moments`, for GPU arrays and a mixture given by weights (k,), means (k, d), variances (k, d);
    d ≤ 4096, k ≤ 1024. `descriptor_weights`, in host memory or on a GPU, is that function's argument `weights`. The
    maps are not copied. Work is queued on the current stream of torch or CuPy. For arrays of other libraries, it is the
    stream of torch if torch can use the GPU, otherwise that of CuPy. The results are float64 if pooled or if the maps
    are float64, else float32. The bits of a map's result depend neither on its batch nor on its strides. The InputError
    for empty maps and for values that are not finite contains the index of the map.
    """
    ragged = isinstance(maps, (list, tuple))
    check(not ragged or len(maps) > 0, "maps must contain at least one map, got an empty batch")
    ours, give = own_arrays(list(maps) if ragged else [maps])
    maps = ours if ragged else ours[0]
    result = compute(
        device_of(ours[0]), maps, weights, means, variances,
        threshold=threshold, pooled=pooled, descriptor_weights=descriptor_weights,
    )  # fmt: skip
    return Moments(*(give(a) for a in result))


def compute(
    device: Device, maps, weights, means, variances, *, threshold: float, pooled: bool, descriptor_weights=None
) -> Moments:
    """`moments` on a given device."""
    mixture = prepared(*(a if type(a) is np.ndarray else to_numpy(a) for a in (weights, means, variances)))
    threshold = check_threshold(threshold)
    launches.check_size(mixture.k, mixture.d)
    batch = ragged(device, maps) if isinstance(maps, (list, tuple)) else uniform(device, maps)
    check_dimensions(batch.d, mixture.d)
    real = "float64" if batch.element == "float64" else "float32"
    if descriptor_weights is not None:
        descriptor_weights = checked_weights(descriptor_weights, batch, real)
        batch = batch.weighted(device, np.concatenate(descriptor_weights))
    run = Run(device, real, mixture, threshold, _variant)
    if pooled:
        out, logs = run.pooled(merged(batch))
    elif batch.table is None and batch.n == 1:
        out, logs = run.singles(batch)
    else:
        out, logs = run.separate(batch)

    for log_likelihoods, map_of in logs:
        values = device.download(log_likelihoods)  # the first download synchronises
        if np.isfinite(values).all():
            continue
        suspects = range(len(maps)) if pooled else [map_of(int(np.flatnonzero(~np.isfinite(values))[0]))]
        break
    else:
        return out
    first_bad_map(device, maps, suspects, descriptor_weights)
    check(run.real == "float32", OUT_OF_RANGE)
    # The values are finite, but so far from every mean that their squares overflow float32: repeat in double.
    double = [device.cast(a, "float64") for a in maps] if batch.table is not None else device.cast(maps, "float64")
    result = compute(
        device, double, *mixture.arrays, threshold=threshold, pooled=pooled, descriptor_weights=descriptor_weights
    )
    return result if pooled else Moments(*(device.cast(a, "float32") for a in result))
