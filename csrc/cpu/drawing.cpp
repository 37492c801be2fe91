// Spline fields, interpolation and the body of the phantoms.
#include "drawing.h"

#include <vector>

#include "exact.h"

namespace ildfv {
namespace {

ILDFV_ALSO_AVX2 void add_four(const float* a, const float* b, const float* c, const float* d, const float* w, int64_t n,
                              float* out) {
    for (int64_t x = 0; x < n; ++x) out[x] = ((w[0] * a[x] + w[1] * b[x]) + w[2] * c[x]) + w[3] * d[x];
}

// A row between two rows of a plane at twice its resolution: 0.75 · near + 0.25 · far, doubled along x in the same way.
template <class Real>
ILDFV_INLINED void double_in_both(const Real* near, const Real* far, int64_t columns, Real* tall, Real* out) {
    const Real most = 0.75, least = 0.25;
    for (int64_t x = 0; x < columns; ++x) tall[x] = most * near[x] + least * far[x];
    out[0] = most * tall[0] + least * tall[0];
    for (int64_t x = 0; x + 1 < columns; ++x) {
        out[2 * x + 1] = most * tall[x] + least * tall[x + 1];
        out[2 * x + 2] = most * tall[x + 1] + least * tall[x];
    }
    out[2 * columns - 1] = most * tall[columns - 1] + least * tall[columns - 1];
}

ILDFV_ALSO_AVX2 void double_row(const float* near, const float* far, int64_t columns, float* tall, float* out) {
    double_in_both(near, far, columns, tall, out);
}
ILDFV_ALSO_AVX2 void double_row(const double* near, const double* far, int64_t columns, double* tall, double* out) {
    double_in_both(near, far, columns, tall, out);
}

// Rows of a plane at twice its resolution.
template <class Real>
class Doubled {
public:
    Doubled(const Real* plane, int64_t rows, int64_t columns)
        : plane(plane), rows(rows), columns(columns), tall(columns), row(2 * columns) {}

    void write(int64_t y, Real* out) {
        const int64_t near = y / 2, far = y % 2 ? std::min(near + 1, rows - 1) : std::max(near - 1, (int64_t)0);
        double_row(plane + near * columns, plane + far * columns, columns, tall.data(), out);
    }
    const Real* operator[](int64_t y) {
        write(y, row.data());
        return row.data();
    }

private:
    const Real* plane;
    int64_t rows, columns;
    std::vector<Real> tall, row;
};

// The fraction of a pixel inside a shape, from the signed distance to its surface.
ILDFV_INLINED float coverage(float distance, float pixel) {
    const float inside = 0.5f - distance / pixel;
    return inside < 0 ? 0 : inside > 1 ? 1 : inside;
}

template <class Real>
ILDFV_INLINED Real mixed(Real hu, float share, Real value) {
    return hu + share * (value - hu);
}

template <class Real>
ILDFV_INLINED void layers(const Real* soft, const float* bone, const float* marrow, const float* skin, const Layers& at,
                          int64_t columns, Real* out) {
    for (int64_t x = 0; x < columns; ++x) {
        Real hu = mixed(soft[x], coverage(bone[x], at.pixel), (Real)at.cortex);
        hu = mixed(hu, coverage(bone[x] + at.cortex_thickness, at.pixel), (Real)marrow[x]);
        hu = mixed(hu, coverage(-at.skin_thickness - skin[x], at.pixel), (Real)at.skin);
        out[x] = mixed((Real)at.air, coverage(skin[x], at.pixel), hu);
    }
}

ILDFV_ALSO_AVX2 void layers_of_row(const float* soft, const float* bone, const float* marrow, const float* skin,
                                   const Layers& at, int64_t columns, float* out) {
    layers(soft, bone, marrow, skin, at, columns, out);
}
ILDFV_ALSO_AVX2 void layers_of_row(const double* soft, const float* bone, const float* marrow, const float* skin,
                                   const Layers& at, int64_t columns, double* out) {
    layers(soft, bone, marrow, skin, at, columns, out);
}

}  // namespace

void spline_plane(const float* knots, int64_t width, const int64_t* row_index, const float* row_weight, int64_t rows,
                  const int64_t* column_index, const float* column_weight, int64_t columns, float* out) {
    // Only the knots' rows that are used are interpolated along x.
    int64_t low = row_index[0], high = row_index[0];
    for (int64_t i = 0; i < 4 * rows; ++i) {
        low = std::min(low, row_index[i]);
        high = std::max(high, row_index[i]);
    }
    std::vector<float> lines((high + 1 - low) * columns);
    for (int64_t r = low; r <= high; ++r) {
        const float* knot = knots + r * width;
        float* line = lines.data() + (r - low) * columns;
        const int64_t* i = column_index;
        const float* w = column_weight;
        for (int64_t x = 0; x < columns; ++x)
            line[x] = ((w[x] * knot[i[x]] + w[columns + x] * knot[i[columns + x]]) +
                       w[2 * columns + x] * knot[i[2 * columns + x]]) +
                      w[3 * columns + x] * knot[i[3 * columns + x]];
    }
    for (int64_t y = 0; y < rows; ++y) {
        const float* from[4];
        float w[4];
        for (int k = 0; k < 4; ++k) {
            from[k] = lines.data() + (row_index[k * rows + y] - low) * columns;
            w[k] = row_weight[k * rows + y];
        }
        add_four(from[0], from[1], from[2], from[3], w, columns, out + y * columns);
    }
}

template <class Real>
void doubled(const Real* plane, int64_t rows, int64_t columns, Real* out) {
    Doubled<Real> fine(plane, rows, columns);
    for (int64_t y = 0; y < 2 * rows; ++y) fine.write(y, out + y * 2 * columns);
}

template void doubled(const float*, int64_t, int64_t, float*);
template void doubled(const double*, int64_t, int64_t, double*);

template <class Real>
void draw_layers(const Real* soft, const float* bone, const float* marrow, const float* skin, int64_t rows,
                 int64_t columns, const Layers& at, Real* out) {
    Doubled<Real> fine_soft(soft, rows, columns);
    Doubled<float> fine_bone(bone, rows, columns), fine_marrow(marrow, rows, columns), fine_skin(skin, rows, columns);
    for (int64_t y = 0; y < 2 * rows; ++y)
        layers_of_row(fine_soft[y], fine_bone[y], fine_marrow[y], fine_skin[y], at, 2 * columns, out + y * 2 * columns);
}

template void draw_layers(const float*, const float*, const float*, const float*, int64_t, int64_t, const Layers&,
                          float*);
template void draw_layers(const double*, const float*, const float*, const float*, int64_t, int64_t, const Layers&,
                          double*);

}  // namespace ildfv
