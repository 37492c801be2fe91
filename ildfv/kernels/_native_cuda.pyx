"""The CUDA kernels compiled by nvcc when ildfv was installed (ILDFV_CUDA=1). Importing this needs no driver."""

from numbers import Integral

from libc.stdint cimport int64_t, uintptr_t

from ildfv.kernels.cuda.interop import place

cdef enum:
    MOST_ARGUMENTS = 32


cdef extern from *:
    """
    extern "C" int ildfv_cuda_launch(int, const char*, unsigned, unsigned, unsigned, size_t, void*, void**);
    extern "C" int ildfv_cuda_shared_limit(int);
    extern "C" int ildfv_cuda_capability(int);
    extern "C" const char* ildfv_cuda_error(int);
    """
    int ildfv_cuda_launch(int, const char*, unsigned, unsigned, unsigned, size_t, void*, void**) nogil
    int ildfv_cuda_shared_limit(int)
    int ildfv_cuda_capability(int)
    const char* ildfv_cuda_error(int)


cdef union Argument:  # every argument of every kernel is 8 bytes
    int64_t integer
    double number


def shared_limit(int device):
    """The most shared memory a block of the device may have, in bytes. RuntimeError where there is no such device."""
    return _known(device, ildfv_cuda_shared_limit(device))


def capability(int device):
    """The device's compute capability, 90 for sm_90. RuntimeError where there is no such device."""
    return _known(device, ildfv_cuda_capability(device))


cdef int _known(int device, int found) except -1:
    if found < 0:
        raise RuntimeError(f"cuda:{device}: {ildfv_cuda_error(-found).decode()}")
    return found


def launch(int device, str kernel, unsigned grid_x, unsigned grid_y, unsigned threads, size_t shared_bytes,
           uintptr_t stream, tuple arguments):
    """Queue a kernel of csrc/cuda on the caller's stream.

    arguments: floats, integers (device addresses among them), and device arrays of any library, by DLPack or
    `__cuda_array_interface__`. RuntimeError names the kernel, the device and what CUDA says of it.
    """
    cdef Argument values[MOST_ARGUMENTS]
    cdef void* packed[MOST_ARGUMENTS]
    cdef bytes name = kernel.encode()
    cdef const char* text = name
    cdef int status
    cdef Py_ssize_t i
    cdef list held = []
    if len(arguments) > MOST_ARGUMENTS:
        raise ValueError(f"at most {MOST_ARGUMENTS} arguments, got {len(arguments)}")
    for i, argument in enumerate(arguments):
        if isinstance(argument, float):
            values[i].number = argument
        elif isinstance(argument, Integral):
            values[i].integer = argument
        else:
            array = place(argument, stream)
            if array.device not in (None, device):
                raise ValueError(f"arrays must be on cuda:{device}, got one on cuda:{array.device}")
            held.append(array)
            values[i].integer = array.address
        packed[i] = &values[i]
    with nogil:
        status = ildfv_cuda_launch(device, text, grid_x, grid_y, threads, shared_bytes, <void*>stream, packed)
    if status:
        raise RuntimeError(f"{kernel} on cuda:{device}: {ildfv_cuda_error(status).decode()}")
