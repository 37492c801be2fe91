// Loops that draw phantoms. The order and rounding of their operations are those of the NumPy or SciPy functions that
// they replace, so that the bytes of phantoms do not depend on which of the two is used.
#pragma once

#include <stdint.h>

#include <algorithm>

namespace ildfv {

// out (rows, columns): image smoothed along the columns (axis 0) or the rows (axis 1), in double precision. half: weights
// at the distances 0 … radius. Edges are continued by reflection. Like scipy.ndimage.gaussian_filter1d.
template <class Real>
void smooth_lines(const Real* image, int64_t rows, int64_t columns, const double* half, int64_t radius, int axis,
                  Real* out);

// out (rows, columns): weighted sums of four knots along x, then of four such sums along y, ((0 + 1) + 2) + 3. knots:
// (any number, width). Indices and weights: (4, rows) and (4, columns).
void spline_plane(const float* knots, int64_t width, const int64_t* row_index, const float* row_weight, int64_t rows,
                  const int64_t* column_index, const float* column_weight, int64_t columns, float* out);

// The `count` points nearest to each of n places in the plane z, by ascending distance: distance (count, n) and index
// (count, n). points: (m, 3) as z, y, x; at least `count`. spacing: about their mean distance. Like SciPy's
// cKDTree.query.
void nearest_points(const float* points, int64_t m, const float* x, const float* y, int64_t n, double z, double spacing,
                    int64_t count, float* distance, int64_t* index);

// out (2·rows, 2·columns): the plane at twice the resolution by linear interpolation, along y and then along x.
template <class Real>
void doubled(const Real* plane, int64_t rows, int64_t columns, Real* out);

// out (rows, columns): Euclidean distance of each pixel to the nearest one that is 0, in pixels; larger than the plane's
// diagonal if there is none. Like scipy.ndimage.distance_transform_edt.
void distance_to_outside(const unsigned char* inside, int64_t rows, int64_t columns, double* out);

// HU and thicknesses in mm of the layers that `draw_layers` draws over the soft tissue; pixel: mm at full resolution.
struct Layers {
    float pixel, cortex, cortex_thickness, skin, skin_thickness, air;
};

// out (2·rows, 2·columns): HU of a body of soft tissue, bone and skin, with air around it. At half the resolution,
// (rows, columns): soft tissue in HU, signed distances to the surfaces of bone and skin in mm, HU of the marrow.
template <class Real>
void draw_layers(const Real* soft, const float* bone, const float* marrow, const float* skin, int64_t rows,
                 int64_t columns, const Layers& at, Real* out);

// A straight tube: start, axis to its end, squared length, radius in mm, and its opacity 0 … 1.
struct Tube {
    double x, y, z, ax, ay, az, squared_length, radius, opacity;
};

// share (any number of rows, columns), a rectangle of the plane: raised, where it is lower, to the fraction of each
// pixel that a tube fills in a section, times its opacity. The rectangle's first pixel is (top, left). boxes: (n, 4),
// the columns and rows [left, right), [top, bottom) that each tube can reach, inside the rectangle. axis: coordinates
// of the pixels, mm.
void draw_tubes(const Tube* tubes, const int64_t* boxes, int64_t n, const float* axis, double z, double half_thickness,
                double pixel, int64_t top, int64_t left, int64_t columns, float* share);

}  // namespace ildfv
