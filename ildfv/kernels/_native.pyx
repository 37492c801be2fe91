# distutils: language = c++
"""The C++ kernel, behind NumPy arrays that `ildfv.kernels.cpu` has checked."""

from libc.stdint cimport int64_t, uintptr_t
from libcpp.vector cimport vector

import numpy as np


cdef extern from "cpu/moments.h" namespace "ildfv" nogil:
    enum Element:
        pass

    struct Map:
        const void* data
        int64_t n, row_stride, dim_stride
        const double* weights

    struct Mixture:
        int64_t k, d
        const double* weights
        const double* means
        const double* variances

    struct Sums:
        void* s0
        void* s1
        void* s2
        void* log_likelihood
        bint in_double

    struct Options:
        double threshold
        bint pooled
        int threads
        const char* isa

    int64_t c_moments "ildfv::moments"(const Map*, int64_t, Element, const Mixture&, const Sums&, const Options&) except +
    const char* c_instruction_set "ildfv::instruction_set"(const char*)


def instruction_set(str wanted=""):
    """Name of the instruction set used: "avx512", "avx2" or "baseline"; None if `wanted` is not to be had here."""
    cdef bytes name = wanted.encode()
    cdef const char* found = c_instruction_set(name)
    return found.decode() if found != NULL else None


def moments(int64_t[:, ::1] maps, int element, const double[::1] weights, const double[:, ::1] means,
            const double[:, ::1] variances, uintptr_t s0, uintptr_t s1, uintptr_t s2, uintptr_t log_likelihood,
            *, bint in_double, double threshold, bint pooled, int threads, str isa=""):
    """Index of the first map that is not finite, or −1.

    `maps` has rows (address, n, row stride, dimension stride, address of n weights in double or 0).
    """
    cdef vector[Map] all_maps
    cdef Mixture mixture
    cdef Sums sums
    cdef Options options
    cdef bytes name = isa.encode()
    cdef int64_t i, first_bad
    for i in range(maps.shape[0]):
        all_maps.push_back(Map(<const void*><uintptr_t>maps[i, 0], maps[i, 1], maps[i, 2], maps[i, 3],
                               <const double*><uintptr_t>maps[i, 4]))
    mixture = Mixture(means.shape[0], means.shape[1], &weights[0], &means[0, 0], &variances[0, 0])
    sums = Sums(<void*>s0, <void*>s1, <void*>s2, <void*>log_likelihood, in_double)
    options = Options(threshold, pooled, threads, name)
    with nogil:
        first_bad = c_moments(all_maps.data(), <int64_t>all_maps.size(), <Element>element, mixture, sums, options)
    return first_bad
