"""Element types of the maps that the kernels accept."""

from __future__ import annotations

from ildfv.errors import InputError

CODES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 3, "uint8": 4}  # enum Element of csrc/common/elements.h
BYTES = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "uint8": 1}


def check_element(name: str) -> str:
    """`name` if the kernels accept maps of this dtype, otherwise InputError."""
    if name not in CODES:
        raise InputError(f"maps must be {', '.join(CODES)}, got {name}")
    return name


def element_bytes(name: str) -> int:
    """Size of one value in bytes; InputError for a dtype that the kernels do not accept."""
    return BYTES[check_element(name)]
