// Smoothing of an image along one axis, in double precision.
#include <algorithm>
#include <vector>

#include "drawing.h"
#include "exact.h"

namespace ildfv {
namespace {

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are returned by inlined functions only
#endif

typedef double Four __attribute__((vector_size(32), aligned(8), may_alias));
typedef float FourFloats __attribute__((vector_size(16), aligned(4), may_alias));

ILDFV_INLINED Four four(const double* from) { return *(const Four*)from; }
ILDFV_INLINED Four four(const float* from) { return __builtin_convertvector(*(const FourFloats*)from, Four); }
ILDFV_INLINED void put(double* to, Four sums) { *(Four*)to = sums; }
ILDFV_INLINED void put(float* to, Four sums) { *(FourFloats*)to = __builtin_convertvector(sums, FourFloats); }

// The values that are added to a row of an image: the rows at a distance j below it, or the row itself, shifted by j.
template <class Real>
struct RowsBelow {
    const Real* const* row;
    ILDFV_INLINED const Real* operator()(int64_t j) const { return row[j]; }
};
struct MovedBy {
    const double* row;
    ILDFV_INLINED const double* operator()(int64_t j) const { return row + j; }
};

// out[x] = half[0] · place(0)[x] + Σ_j (place(−j)[x] + place(j)[x]) · half[j], from the largest distance j to 1.
template <class Place, class Out>
ILDFV_INLINED void add_pairs(Place place, const double* half, int64_t radius, int64_t width, Out* out) {
    int64_t x = 0;
    for (; x + 16 <= width; x += 16) {  // the sums stay in registers
        const Four first = Four{} + half[0];
        Four a = first * four(place(0) + x), b = first * four(place(0) + x + 4), c = first * four(place(0) + x + 8),
             d = first * four(place(0) + x + 12);
        for (int64_t j = radius; j > 0; --j) {
            const auto *before = place(-j) + x, *after = place(j) + x;
            const Four weight = Four{} + half[j];
            a += (four(before) + four(after)) * weight;
            b += (four(before + 4) + four(after + 4)) * weight;
            c += (four(before + 8) + four(after + 8)) * weight;
            d += (four(before + 12) + four(after + 12)) * weight;
        }
        put(out + x, a);
        put(out + x + 4, b);
        put(out + x + 8, c);
        put(out + x + 12, d);
    }
    for (; x < width; ++x) {
        double sum = half[0] * (double)place(0)[x];
        for (int64_t j = radius; j > 0; --j) sum += ((double)place(-j)[x] + (double)place(j)[x]) * half[j];
        out[x] = (Out)sum;
    }
}

ILDFV_ALSO_AVX2 void smooth_row(RowsBelow<float> place, const double* half, int64_t radius, int64_t width, float* out) {
    add_pairs(place, half, radius, width, out);
}
ILDFV_ALSO_AVX2 void smooth_row(RowsBelow<double> place, const double* half, int64_t radius, int64_t width,
                                double* out) {
    add_pairs(place, half, radius, width, out);
}
ILDFV_ALSO_AVX2 void smooth_row(MovedBy place, const double* half, int64_t radius, int64_t width, float* out) {
    add_pairs(place, half, radius, width, out);
}
ILDFV_ALSO_AVX2 void smooth_row(MovedBy place, const double* half, int64_t radius, int64_t width, double* out) {
    add_pairs(place, half, radius, width, out);
}

// The index inside [0, size) of a place beyond the edge: d c b a | a b c d | d c b a.
int64_t reflected(int64_t i, int64_t size) {
    while (i < 0 || i >= size) i = i < 0 ? -1 - i : 2 * size - 1 - i;
    return i;
}

template <class Real>
void smooth_columns(const Real* image, int64_t rows, int64_t columns, const double* half, int64_t radius, Real* out) {
    std::vector<const Real*> row(rows + 2 * radius);
    for (int64_t y = -radius; y < rows + radius; ++y) row[radius + y] = image + reflected(y, rows) * columns;
    for (int64_t y = 0; y < rows; ++y)
        smooth_row(RowsBelow<Real>{row.data() + radius + y}, half, radius, columns, out + y * columns);
}

template <class Real>
void smooth_rows(const Real* image, int64_t rows, int64_t columns, const double* half, int64_t radius, Real* out) {
    std::vector<double> line(columns + 2 * radius);
    double* middle = line.data() + radius;
    for (int64_t y = 0; y < rows; ++y) {
        const Real* from = image + y * columns;
        for (int64_t x = 0; x < columns; ++x) middle[x] = (double)from[x];
        for (int64_t j = 1; j <= radius; ++j) {
            middle[-j] = middle[reflected(-j, columns)];
            middle[columns - 1 + j] = middle[reflected(columns - 1 + j, columns)];
        }
        smooth_row(MovedBy{middle}, half, radius, columns, out + y * columns);
    }
}

}  // namespace

template <class Real>
void smooth_lines(const Real* image, int64_t rows, int64_t columns, const double* half, int64_t radius, int axis,
                  Real* out) {
    (axis == 0 ? smooth_columns<Real> : smooth_rows<Real>)(image, rows, columns, half, radius, out);
}

template void smooth_lines(const float*, int64_t, int64_t, const double*, int64_t, int, float*);
template void smooth_lines(const double*, int64_t, int64_t, const double*, int64_t, int, double*);

}  // namespace ildfv
