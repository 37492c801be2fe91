# distutils: language = c++
"""Binding of the C++ kernels. Arguments are not checked here: `ildfv.kernels.cpu`, `slices`, `drawing` and `response`
pass arrays of the right dtypes and shapes.

_native.pxd declares the C++ functions and structures.
"""

from libc.stdint cimport int16_t, int64_t, uint8_t, uint16_t, uintptr_t
from libcpp.vector cimport vector

import numpy as np


def instruction_set(str wanted=""):
    """Name of the instruction set used: `wanted` ("avx512", "avx2" or "baseline"), or the best one if it is "".

    None if the machine does not support `wanted`, or no instruction set has that name.
    """
    cdef bytes name = wanted.encode()
    cdef const char* found = c_instruction_set(name)
    return found.decode() if found != NULL else None


cdef vector[Map] _maps(int64_t[:, ::1] table):
    cdef vector[Map] maps
    cdef int64_t i
    for i in range(table.shape[0]):
        maps.push_back(Map(<const void*><uintptr_t>table[i, 0], table[i, 1], table[i, 2], table[i, 3],
                           <const double*><uintptr_t>table[i, 4]))
    return maps


def moments(int64_t[:, ::1] maps, int element, const double[::1] weights, const double[:, ::1] means,
            const double[:, ::1] variances, uintptr_t s0, uintptr_t s1, uintptr_t s2, uintptr_t log_likelihood,
            *, bint in_double, int64_t by_map, double threshold, bint pooled, int threads, str isa=""):
    """Writes the moments to the given addresses. Returns the index of the first map that is not finite, or −1.

    `maps` has rows (address, n, row stride, dimension stride, address of n weights in double or 0). by_map: stride of
    s1 and s2 from one map to the next, in values.
    """
    cdef vector[Map] all_maps = _maps(maps)
    cdef Mixture mixture
    cdef Sums sums
    cdef Options options
    cdef bytes name = isa.encode()
    cdef int64_t first_bad
    mixture = Mixture(means.shape[0], means.shape[1], &weights[0], &means[0, 0], &variances[0, 0])
    sums = Sums(<void*>s0, <void*>s1, <void*>s2, <void*>log_likelihood, in_double, by_map)
    options = Options(threshold, pooled, threads, name)
    with nogil:
        first_bad = c_moments(all_maps.data(), <int64_t>all_maps.size(), <Element>element, mixture, sums, options)
    return first_bad


def contributions(int64_t[:, ::1] maps, int element, const double[::1] weights, const double[:, ::1] means,
                  const double[:, ::1] variances, const double[:, :, :, ::1] first, const double[:, :, :, ::1] second,
                  int64_t[::1] out, *, double threshold, int threads, str isa=""):
    """Writes the contributions to `out`. Returns the index of the first map that is not finite, or −1.

    maps: as in `moments`. first, second: (b, C, k, d), or (1, C, k, d) for all maps. out: for each map, the address of
    an array (n, C) in double.
    """
    cdef vector[Map] all_maps = _maps(maps)
    cdef vector[double*] results
    cdef Mixture mixture = Mixture(means.shape[0], means.shape[1], &weights[0], &means[0, 0], &variances[0, 0])
    cdef LinearFunctionals functionals = LinearFunctionals(
        first.shape[1], &first[0, 0, 0, 0], &second[0, 0, 0, 0], first.shape[0] > 1)
    cdef bytes name = isa.encode()
    cdef Options options = Options(threshold, False, threads, name)
    cdef int64_t i, first_bad
    for i in range(out.shape[0]):
        results.push_back(<double*><uintptr_t>out[i])
    with nogil:
        first_bad = c_contributions(all_maps.data(), <int64_t>all_maps.size(), <Element>element, mixture, functionals,
                                    results.data(), options)
    return first_bad


ctypedef fused Real:
    float
    double


def fisher_vectors(Real[:, ::1] rows, const Real[:, ::1] s0, const double[::1] counts, const double[::1] roots,
                   const double[::1] weights, *, int64_t d, bint improved, bint by_component, bint weight_part,
                   double least_norm, int threads):
    """Converts rows that start with the s1 (k, d) and s2 (k, d) of a map to Fisher vectors, in place.

    counts: descriptors of each map, or the sum of their weights. roots: 1/√weight, or 0 for components that give zeros.
    """
    cdef FisherLayout layout = FisherLayout(s0.shape[1], d, improved, by_component, weight_part, least_norm)
    with nogil:
        c_fisher_vectors(&rows[0, 0], &s0[0, 0], &counts[0], &roots[0], &weights[0], rows.shape[0], layout,
                         threads)


ctypedef fused Hounsfield:
    int16_t
    float

ctypedef fused Values:
    int16_t
    float
    double

ctypedef fused Integers:
    uint8_t
    uint16_t
    int16_t

ctypedef fused Codes:
    uint8_t
    uint16_t


def window_slice(const Hounsfield[:, ::1] hu, const float[:, ::1] levels, const int64_t[:, ::1] row_index,
                 const float[:, ::1] row_share, const int64_t[:, ::1] column_index, const float[:, ::1] column_share,
                 unsigned char[:, :, ::1] out):
    """Writes the windows of a slice, (windows, size, size). levels: low, high, scale (3, windows)."""
    cdef Taps rows = Taps(&row_index[0, 0], &row_share[0, 0], row_index.shape[0])
    cdef Taps columns = Taps(&column_index[0, 0], &column_share[0, 0], column_index.shape[0])
    with nogil:
        c_window_slice(&hu[0, 0], hu.shape[0], hu.shape[1], &levels[0, 0], &levels[1, 0], &levels[2, 0], out.shape[0],
                       rows, columns, out.shape[1], &out[0, 0, 0])


def lung_regions(const Values[:, ::1] hu, double below, double pixel_area, double least_area, double least_mean,
                 bint at_border, unsigned char[:, ::1] mask):
    """Writes the lung or, if `at_border`, lung-like regions at the border, and returns their number of pixels."""
    cdef LungRule rule = LungRule(below, pixel_area, least_area, least_mean)
    cdef int64_t pixels
    with nogil:
        pixels = c_lung_regions(&hu[0, 0], hu.shape[0], hu.shape[1], rule, at_border, &mask[0, 0])
    return pixels


def repeat_cross(unsigned char[:, ::1] mask, int64_t times, bint grow):
    """Erodes or dilates the mask in place `times` times."""
    with nogil:
        c_repeat_cross(&mask[0, 0], mask.shape[0], mask.shape[1], times, grow)


def largest_region(unsigned char[:, ::1] mask):
    """Keeps the largest region of the mask, with its holes filled. Returns its number of pixels."""
    cdef int64_t pixels
    with nogil:
        pixels = c_largest_region(&mask[0, 0], mask.shape[0], mask.shape[1])
    return pixels


def count_values(const Integers[::1] values, int64_t least, int64_t[::1] counts, const unsigned char[::1] mask=None):
    """Adds 1 to counts[value − least] for each value, or only where `mask` is 1. All indices must be valid."""
    cdef const unsigned char* where = NULL
    if mask is not None:
        where = &mask[0]
    with nogil:
        c_count_values(&values[0], where, values.shape[0], least, &counts[0], counts.shape[0])


def look_up(const unsigned char[::1] table, const Codes[::1] values, unsigned char[::1] out):
    """Writes table[values]; the table must have an entry for every value."""
    with nogil:
        c_look_up(&table[0], &values[0], values.shape[0], &out[0])


def translate(const unsigned char[::1] table, const Codes[::1] values, unsigned char[::1] out, int64_t[::1] counts):
    """Writes table[values] and adds 1 to counts[out] for each value; counts: (256,)."""
    with nogil:
        c_translate(&table[0], &values[0], values.shape[0], &out[0], &counts[0])


ctypedef fused Reals:
    float
    double


def smooth_lines(const Reals[:, ::1] image, const double[::1] half, int axis, Reals[:, ::1] out):
    """Writes the image smoothed along an axis. half: weights at the distances 0 … radius."""
    with nogil:
        c_smooth_lines(&image[0, 0], image.shape[0], image.shape[1], &half[0], half.shape[0] - 1, axis, &out[0, 0])


def spline_plane(const float[:, ::1] knots, const int64_t[:, ::1] row_index, const float[:, ::1] row_weights,
                 const int64_t[:, ::1] column_index, const float[:, ::1] column_weights, float[:, ::1] out):
    """Writes weighted sums of 4 × 4 knots. All indices must be valid."""
    with nogil:
        c_spline_plane(&knots[0, 0], knots.shape[1], &row_index[0, 0], &row_weights[0, 0], out.shape[0],
                       &column_index[0, 0], &column_weights[0, 0], out.shape[1], &out[0, 0])


def nearest_points(const float[:, ::1] points, const float[::1] x, const float[::1] y, double z, double spacing,
                   float[:, ::1] distance, int64_t[:, ::1] index):
    """Writes the points nearest to each (x, y) in the plane z. `distance` must not have more rows than points."""
    with nogil:
        c_nearest_points(&points[0, 0], points.shape[0], &x[0], &y[0], x.shape[0], z, spacing, distance.shape[0],
                         &distance[0, 0], &index[0, 0])


def doubled(const Reals[:, ::1] plane, Reals[:, ::1] out):
    """Writes the plane at twice the resolution."""
    with nogil:
        c_doubled(&plane[0, 0], plane.shape[0], plane.shape[1], &out[0, 0])


def distance_to_outside(const unsigned char[:, ::1] inside, double[:, ::1] out):
    """Writes for each pixel the distance to the nearest 0, in pixels."""
    with nogil:
        c_distance_to_outside(&inside[0, 0], inside.shape[0], inside.shape[1], &out[0, 0])


def draw_layers(const Reals[:, ::1] soft, const float[:, ::1] bone, const float[:, ::1] marrow, const float[:, ::1] skin,
                const float[::1] values, Reals[:, ::1] out):
    """Writes HU at twice the resolution of the planes. values: those of `Layers`, in its order."""
    cdef Layers at = Layers(values[0], values[1], values[2], values[3], values[4], values[5])
    with nogil:
        c_draw_layers(&soft[0, 0], &bone[0, 0], &marrow[0, 0], &skin[0, 0], soft.shape[0], soft.shape[1], at,
                      &out[0, 0])


def draw_tubes(const double[:, ::1] tubes, const int64_t[:, ::1] boxes, const float[::1] axis, double z,
               double half_thickness, double pixel, int64_t top, int64_t left, float[:, ::1] share):
    """Raises `share` to the fractions that the tubes fill. tubes: (n, 9), the members of `Tube` in drawing.h."""
    with nogil:
        c_draw_tubes(<const Tube*> &tubes[0, 0], &boxes[0, 0], tubes.shape[0], &axis[0], z, half_thickness, pixel,
                     top, left, share.shape[1], &share[0, 0])


ctypedef fused FloatOrBits:
    float
    uint16_t


def normalise(const FloatOrBits[:, ::1] x, float alpha, float kappa, int64_t reach, int threads,
              FloatOrBits[:, ::1] out):
    """Writes the normalised rows of x (locations, channels). uint16 values are the bits of bfloat16."""
    cdef Response response = Response(alpha, kappa, reach)
    with nogil:
        c_normalise(&x[0, 0], x.shape[0], x.shape[1], response, threads, &out[0, 0])


def normalise_gradient(const FloatOrBits[:, ::1] x, const FloatOrBits[:, ::1] gradient, float alpha, float kappa,
                       int64_t reach, int threads, FloatOrBits[:, ::1] out):
    """Writes the gradient with respect to x, from the gradient with respect to the normalised rows."""
    cdef Response response = Response(alpha, kappa, reach)
    with nogil:
        c_normalise_gradient(&x[0, 0], &gradient[0, 0], x.shape[0], x.shape[1], response, threads, &out[0, 0])


def pool(const FloatOrBits[:, :, :, ::1] x, float alpha, float kappa, int64_t reach, int threads,
         FloatOrBits[:, :, :, ::1] out, uint8_t[:, :, :, ::1] place):
    """Writes the pooled maps and the places of the maxima. x: channels last."""
    cdef Response response = Response(alpha, kappa, reach)
    cdef Pooling sizes = Pooling(x.shape[0], x.shape[1], x.shape[2], x.shape[3], out.shape[1], out.shape[2])
    with nogil:
        c_pool(&x[0, 0, 0, 0], sizes, response, threads, &out[0, 0, 0, 0], &place[0, 0, 0, 0])


def pool_gradient(const FloatOrBits[:, :, :, ::1] x, const float[:, :, :, ::1] gradient,
                  const uint8_t[:, :, :, ::1] place, float alpha, float kappa, int64_t reach, int threads,
                  FloatOrBits[:, :, :, ::1] out):
    """Writes the gradient with respect to x, from the gradient with respect to the pooled maps."""
    cdef Response response = Response(alpha, kappa, reach)
    cdef Pooling sizes = Pooling(x.shape[0], x.shape[1], x.shape[2], x.shape[3], gradient.shape[1], gradient.shape[2])
    with nogil:
        c_pool_gradient(&x[0, 0, 0, 0], &gradient[0, 0, 0, 0], &place[0, 0, 0, 0], sizes, response, threads,
                        &out[0, 0, 0, 0])
