"""Declarations of the C++ kernels, from the headers in csrc/cpu. Cython includes them in _native.pyx."""

from libc.stdint cimport int64_t, uint8_t


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
        int64_t by_map

    struct Options:
        double threshold
        bint pooled
        int threads
        const char* isa

    struct LinearFunctionals:
        int64_t count
        const double* first
        const double* second
        bint per_map

    int64_t c_contributions "ildfv::contributions"(
        const Map*, int64_t, Element, const Mixture&, const LinearFunctionals&, double**, const Options&) except +
    int64_t c_moments "ildfv::moments"(const Map*, int64_t, Element, const Mixture&, const Sums&, const Options&) except +
    const char* c_instruction_set "ildfv::instruction_set"(const char*)


cdef extern from "cpu/fisher.h" namespace "ildfv" nogil:
    struct FisherLayout:
        int64_t k, d
        bint improved, by_component, weight_part
        double least_norm

    void c_fisher_vectors "ildfv::fisher_vectors"[T](
        T*, const T*, const double*, const double*, const double*, int64_t, const FisherLayout&, int) except +


cdef extern from "cpu/slices.h" namespace "ildfv" nogil:
    struct Taps:
        const int64_t* index
        const float* share
        int64_t taps

    struct LungRule:
        double below, pixel_area, least_area, least_mean

    void c_window_slice "ildfv::window_slice"[T](
        const T*, int64_t, int64_t, const float*, const float*, const float*, int64_t, Taps, Taps, int64_t,
        unsigned char*) except +
    int64_t c_lung_regions "ildfv::lung_regions"[T](
        const T*, int64_t, int64_t, LungRule, bint, unsigned char*) except +
    void c_repeat_cross "ildfv::repeat_cross"(unsigned char*, int64_t, int64_t, int64_t, bint) except +
    int64_t c_largest_region "ildfv::largest_region"(unsigned char*, int64_t, int64_t) except +
    void c_count_values "ildfv::count_values"[T](
        const T*, const unsigned char*, int64_t, int64_t, int64_t*, int64_t) except +
    void c_look_up "ildfv::look_up"[T](const unsigned char*, const T*, int64_t, unsigned char*)
    void c_translate "ildfv::translate"[T](const unsigned char*, const T*, int64_t, unsigned char*, int64_t*)


cdef extern from "cpu/drawing.h" nogil:
    struct Layers "ildfv::Layers":
        float pixel, cortex, cortex_thickness, skin, skin_thickness, air

    struct Tube "ildfv::Tube":
        double x

    void c_smooth_lines "ildfv::smooth_lines"[T](
        const T*, int64_t, int64_t, const double*, int64_t, int, T*) except +
    void c_spline_plane "ildfv::spline_plane"(
        const float*, int64_t, const int64_t*, const float*, int64_t, const int64_t*, const float*, int64_t, float*
    ) except +
    void c_nearest_points "ildfv::nearest_points"(
        const float*, int64_t, const float*, const float*, int64_t, double, double, int64_t, float*, int64_t*) except +
    void c_doubled "ildfv::doubled"[T](const T*, int64_t, int64_t, T*) except +
    void c_distance_to_outside "ildfv::distance_to_outside"(const unsigned char*, int64_t, int64_t, double*) except +
    void c_draw_layers "ildfv::draw_layers"[T](
        const T*, const float*, const float*, const float*, int64_t, int64_t, const Layers&, T*) except +
    void c_draw_tubes "ildfv::draw_tubes"(
        const Tube*, const int64_t*, int64_t, const float*, double, double, double, int64_t, int64_t, int64_t, float*
    ) except +


cdef extern from "cpu/response.h" namespace "ildfv" nogil:
    struct Response:
        float alpha, kappa
        int64_t reach

    void c_normalise "ildfv::normalise"[T](const T*, int64_t, int64_t, Response, int, T*) except +
    void c_normalise_gradient "ildfv::normalise_gradient"[T](
        const T*, const T*, int64_t, int64_t, Response, int, T*) except +


cdef extern from "cpu/pooled.h" namespace "ildfv" nogil:
    struct Pooling:
        int64_t maps, rows, columns, channels, pooled_rows, pooled_columns

    void c_pool "ildfv::pool"[T](const T*, Pooling, Response, int, T*, uint8_t*) except +
    void c_pool_gradient "ildfv::pool_gradient"[T](
        const T*, const float*, const uint8_t*, Pooling, Response, int, T*) except +
