"""Binding of the CUDA kernels compiled by nvcc at install time (ILDFV_CUDA=1). Importing it requires no driver."""

from numbers import Integral

from libc.stdint cimport int64_t, uintptr_t

from ildfv.kernels.cuda.interop import place

cdef enum:
    MAX_ARGUMENTS = 32


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
    """Maximum shared memory of a block on the device, in bytes. RuntimeError if there is no such device."""
    return _checked(device, ildfv_cuda_shared_limit(device))


def capability(int device):
    """The device's compute capability, 90 for sm_90. RuntimeError if there is no such device."""
    return _checked(device, ildfv_cuda_capability(device))


cdef int _checked(int device, int found) except -1:
    if found < 0:
        raise RuntimeError(f"cuda:{device}: {ildfv_cuda_error(-found).decode()}")
    return found


def launch(int device, str kernel, unsigned grid_x, unsigned grid_y, unsigned threads, size_t shared_bytes,
           uintptr_t stream, tuple arguments):
    """Queues a kernel of csrc/cuda on the caller's stream.

    arguments: floats, integers (including device addresses), and device arrays of any library that supports DLPack or
    `__cuda_array_interface__`. If the launch fails, a RuntimeError names the kernel, the device and CUDA's error.
    """
    cdef Argument values[MAX_ARGUMENTS]
    cdef void* packed[MAX_ARGUMENTS]
    cdef bytes name = kernel.encode()
    cdef const char* text = name
    cdef int status
    cdef Py_ssize_t i
    cdef list held = []
    if len(arguments) > MAX_ARGUMENTS:
        raise ValueError(f"at most {MAX_ARGUMENTS} arguments, got {len(arguments)}")
    for i, argument in enumerate(arguments):
        if isinstance(argument, float):
            values[i].number = argument
        elif isinstance(argument, int) or isinstance(argument, Integral):  # the first test is faster and usually true
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
