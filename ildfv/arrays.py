"""Array API helpers, and checks of shape, dtype and finiteness.

Unless stated otherwise, the functions accept NumPy, CuPy and torch arrays and return arrays of the same library. This
module imports neither torch nor CuPy: a caller that passes one of their arrays has already imported the library.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import array_api_compat
import numpy as np

from ildfv.errors import InputError, check

is_torch = array_api_compat.is_torch_array
is_cupy = array_api_compat.is_cupy_array


def namespace(*arrays: Any) -> Any:
    """The array API namespace of `arrays`: a module of array_api_compat, or the library if it follows the standard."""
    return array_api_compat.array_namespace(*arrays)


def is_array(a) -> bool:
    """Whether `a` is a NumPy, CuPy or torch array, or another array API object."""
    return array_api_compat.is_array_api_obj(a)


def to_numpy(a, dtype=None) -> np.ndarray:
    """`a` as a NumPy array in host memory, without a copy if possible."""
    if is_torch(a):
        a = a.detach().cpu()
        a = a.float().numpy() if str(a.dtype) == "torch.bfloat16" else a.numpy()  # NumPy has no bfloat16
    elif is_cupy(a):
        a = a.get()
    return np.asarray(a, dtype=dtype)


def like(a: Any, template: Any, dtype: str | None = None) -> Any:
    """`a`, an array in host memory, converted to the array library and the device of `template`.

    dtype: name of the dtype of the result; if None, the dtype of `a` is kept.
    """
    xp = namespace(template)
    kind = None if dtype is None else getattr(xp, dtype)
    return xp.asarray(np.asarray(a, order="C"), dtype=kind, device=array_api_compat.device(template))


def to_float64(a: Any) -> Any:
    """`a` as float64 in the same library."""
    xp = namespace(a)
    return xp.astype(a, xp.float64, copy=False)


def dtype_name(a) -> str:
    """The name of the dtype without library or byte order, such as "float32"."""
    return _numpy_name(a.dtype) if isinstance(a.dtype, np.dtype) else str(a.dtype).rpartition(".")[2]


@lru_cache  # NumPy builds the name on every access, which would take most of the time to check a small array
def _numpy_name(dtype: np.dtype) -> str:
    return dtype.name


def floating(a) -> str:
    """Name of the dtype to compute in: "float32" if `a` has float32 or a smaller float dtype, otherwise "float64"."""
    return "float32" if dtype_name(a) in ("float32", "float16", "bfloat16") else "float64"


def check_shape(a, name: str, shape: tuple) -> None:
    """Raises InputError unless `a` has the given shape; None in `shape` matches any length."""
    actual = tuple(np.shape(a))
    if len(actual) != len(shape) or any(rule is not None and rule != n for rule, n in zip(shape, actual, strict=True)):
        rule = ", ".join("any" if n is None else str(n) for n in shape) + ("," if len(shape) == 1 else "")
        raise InputError(f"{name} must have shape ({rule}), got {actual}")


def check_real(a, name: str) -> None:
    """Raises InputError unless `a` has a floating-point, integer or bool dtype and is not a masked array."""
    kind = dtype_name(a)
    real = "complex" not in kind and any(word in kind for word in ("float", "int", "bool"))
    check(real, f"{name} must contain real numbers, got dtype {kind}")
    # The conversion of a masked array would discard the mask, so that masked values would be used.
    check(not isinstance(a, np.ma.MaskedArray), f"{name} must not be a masked array: remove the masked values")


def check_finite(a, name: str, axis: str = "row") -> None:
    """Raises InputError if `a` contains NaN or infinity.

    The message contains the index of the first such value along the first axis. axis: what the message calls an item
    of the first axis.
    """
    if "float" not in dtype_name(a):
        return
    xp = namespace(a)
    with np.errstate(over="ignore", invalid="ignore"):
        total = xp.sum(a) if "float16" not in dtype_name(a) else xp.sum(a, dtype=xp.float32)
    # If the sum is finite, so are all values, and no temporary array is needed. Otherwise the sum may have overflowed,
    # so the values themselves are checked.
    if bool(xp.isfinite(total)) or bool(xp.all(xp.isfinite(a))):
        return
    finite = to_numpy(xp.isfinite(a)).reshape(a.shape[0], -1)
    index = int(np.flatnonzero(~finite.all(axis=1))[0])
    value = to_numpy(a[index]).reshape(-1)[np.flatnonzero(~finite[index])[0]]
    kind = "NaN" if np.isnan(value) else "inf" if value > 0 else "-inf"
    raise InputError(f"{name} must be finite, got {kind} in {axis} {index}")
