"""Address, layout and conversion of GPU arrays of any library, by DLPack or `__cuda_array_interface__`."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

from ildfv.errors import InputError

CUDA = (2, 13)  # DLPack's kDLCUDA and kDLCUDAManaged
KINDS = {0: "int", 1: "uint", 2: "float", 4: "bfloat"}  # DLPack's type codes
LETTERS = {"i": "int", "u": "uint", "f": "float"}  # letters of `__cuda_array_interface__`


class Place(NamedTuple):
    """An array in device memory. Strides are in elements; device is None if the protocol does not provide it."""

    address: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    device: int | None
    held: Any  # a reference that keeps the memory and its description alive


class _Tensor(ctypes.Structure):
    """DLTensor, the first member of every DLManagedTensor."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


_pointer_in = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


def on_gpu(a) -> bool:
    """Whether `a` is an array, of any library, in the memory of an NVIDIA GPU."""
    kind = type(a).__module__.partition(".")[0]
    if kind == "numpy":
        return False
    if kind == "torch":
        return a.is_cuda
    if hasattr(a, "__cuda_array_interface__"):
        return True
    return hasattr(a, "__dlpack_device__") and int(a.__dlpack_device__()[0]) in CUDA


def place(a, stream: int = 0) -> Place:
    """Address and layout of `a`. stream: the address of the stream that will read `a`; 0: the default stream.

    With DLPack, the library of `a` makes this stream wait for pending writes. InputError for arrays that are not on a
    CUDA device or support neither protocol.
    """
    if hasattr(a, "__dlpack__"):
        kind, device = (int(part) for part in a.__dlpack_device__())
        if kind not in CUDA:
            raise InputError(f"arrays must be on a CUDA device, got DLPack device type {kind}")
        capsule = a.__dlpack__(stream=stream or 1)  # in DLPack, 1 denotes the default stream
        tensor = _Tensor.from_address(_pointer_in(capsule, b"dltensor"))
        if tensor.lanes != 1 or tensor.code not in KINDS:
            raise InputError(
                f"arrays must contain real numbers, got DLPack type code {tensor.code} with {tensor.lanes} lanes"
            )
        shape = tuple(tensor.shape[: tensor.ndim])
        strides = tuple(tensor.strides[: tensor.ndim]) if tensor.strides else _row_major_strides(shape)
        address = (tensor.data or 0) + tensor.byte_offset
        return Place(address, f"{KINDS[tensor.code]}{tensor.bits}", shape, strides, device, (a, capsule))
    if hasattr(a, "__cuda_array_interface__"):
        interface = a.__cuda_array_interface__
        order, letter, size = interface["typestr"][0], interface["typestr"][1], int(interface["typestr"][2:])
        if order == ">" or letter not in LETTERS:
            raise InputError(f"arrays must contain real numbers, got {interface['typestr']}")
        shape, strides = tuple(interface["shape"]), interface.get("strides")
        strides = _row_major_strides(shape) if strides is None else tuple(stride // size for stride in strides)
        return Place(interface["data"][0], f"{LETTERS[letter]}{8 * size}", shape, strides, None, (a, interface))
    raise InputError(f"arrays must support DLPack or __cuda_array_interface__, got {type(a).__name__}")


def _row_major_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def converted(a, library):
    """`a` as an array of `library`, torch or cupy, in the same memory, ready on the library's current stream."""
    if hasattr(a, "__dlpack__"):
        return library.from_dlpack(a)
    return library.as_tensor(a, device="cuda") if library.__name__ == "torch" else library.asarray(a)


def converter_to(template) -> Callable:
    """A function that converts torch or CuPy arrays to the library of `template`, in the same memory.

    If that library is not numba and has no `from_dlpack` of the array API, the function returns arrays unchanged.
    """
    kind = type(template).__module__.partition(".")[0]
    if kind == "numba":
        from numba import cuda

        return cuda.as_cuda_array
    namespace = getattr(template, "__array_namespace__", None)
    return getattr(namespace(), "from_dlpack", _same) if namespace else _same


def _same(a):
    return a
