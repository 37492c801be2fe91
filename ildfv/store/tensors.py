"""Tensors in safetensors files: read from files of any origin, and checked for NaN and infinity when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ildfv.errors import InputError, check

USE_OTHERS = "use other weights, for example of an earlier epoch"  # the remedy if weights are not finite


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file, by name.

    InputError: the file is not a safetensors file; a tensor has a data type that NumPy lacks, or contains NaN or
    infinity.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    check(Path(path).is_file(), f"weights must be a safetensors file, got {path}, which is not a file")
    try:
        found = load_file(path)
    except SafetensorError as error:
        raise InputError(f"weights must be a safetensors file, got {path}: {error}") from error
    except TypeError as error:  # NumPy has no such type
        raise InputError(
            f"weights must have a data type that NumPy supports, such as float32, got {path}: {error}"
        ) from error
    check_finite(found, path, USE_OTHERS)
    return found


def check_finite(tensors: Mapping[str, np.ndarray], path: Path, remedy: str) -> None:
    """Raises InputError with the file, the tensor and the remedy if a tensor contains NaN or infinity."""
    for name, tensor in tensors.items():
        finite = tensor.dtype.kind not in "fc" or bool(np.isfinite(tensor).all())
        check(finite, f"{path} must contain finite numbers, got NaN or infinity in {name!r}: {remedy}")
