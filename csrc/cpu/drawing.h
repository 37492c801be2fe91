// Loops that draw phantoms. The order and rounding of their operations are those of the NumPy or SciPy functions that
// they replace, so that both give phantoms with the same bytes.
#pragma once

#include <stdint.h>

namespace ildfv {

// out (rows, columns): image smoothed along the columns (axis 0) or the rows (axis 1), in double precision. half:
// weights at the distances 0 … radius. Edges are continued by reflection. Like scipy.ndimage.gaussian_filter1d.
template <class Real>
void smooth_lines(const Real* image, int64_t rows, int64_t columns, const double* half, int64_t radius, int axis,
                  Real* out);

// out (rows, columns): each row is the sum of four weighted rows of `plane` (any number, columns), added in the order
// ((0 + 1) + 2) + 3. Indices and weights: (4, rows).
void spline_rows(const float* plane, int64_t columns, const int64_t* index, const float* weight, int64_t rows,
                 float* out);

// The `count` points nearest to each of n places in the plane z, by ascending distance: distance (n, count) and index
// (n, count). points: (m, 3) as z, y, x; at least `count`. spacing: about their mean distance. Like SciPy's
// cKDTree.query.
void nearest_points(const float* points, int64_t m, const float* x, const float* y, int64_t n, double z, double spacing,
                    int64_t count, float* distance, int64_t* index);

}  // namespace ildfv
