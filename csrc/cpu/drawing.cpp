// Smoothing, spline fields and nearest points for the phantoms.
#include "drawing.h"

#include <math.h>

#include <algorithm>
#include <limits>
#include <vector>

// No fused multiply-add: it rounds once where NumPy rounds twice, and the bytes would depend on the processor.
#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

namespace ildfv {
namespace {

constexpr int64_t STRIP = 256;  // columns at once: their sums stay in the first-level cache

// The index inside [0, size) of a place beyond the edge: d c b a | a b c d | d c b a.
int64_t reflected(int64_t i, int64_t size) {
    while (i < 0 || i >= size) i = i < 0 ? -1 - i : 2 * size - 1 - i;
    return i;
}

template <class Real>
void smooth_columns(const Real* image, int64_t rows, int64_t columns, const double* half, int64_t radius, Real* out) {
    double sum[STRIP];
    for (int64_t start = 0; start < columns; start += STRIP) {
        const int64_t width = std::min(STRIP, columns - start);
        for (int64_t y = 0; y < rows; ++y) {
            const Real* here = image + y * columns + start;
            for (int64_t x = 0; x < width; ++x) sum[x] = half[0] * (double)here[x];
            for (int64_t j = radius; j > 0; --j) {
                const Real* before = image + reflected(y - j, rows) * columns + start;
                const Real* after = image + reflected(y + j, rows) * columns + start;
                const double weight = half[j];
                for (int64_t x = 0; x < width; ++x) sum[x] += ((double)before[x] + (double)after[x]) * weight;
            }
            Real* to = out + y * columns + start;
            for (int64_t x = 0; x < width; ++x) to[x] = (Real)sum[x];
        }
    }
}

template <class Real>
void smooth_rows(const Real* image, int64_t rows, int64_t columns, const double* half, int64_t radius, Real* out) {
    std::vector<double> line(columns + 2 * radius), sum(columns);
    double* middle = line.data() + radius;
    for (int64_t y = 0; y < rows; ++y) {
        const Real* from = image + y * columns;
        for (int64_t x = 0; x < columns; ++x) middle[x] = (double)from[x];
        for (int64_t j = 1; j <= radius; ++j) {
            middle[-j] = middle[reflected(-j, columns)];
            middle[columns - 1 + j] = middle[reflected(columns - 1 + j, columns)];
        }
        for (int64_t x = 0; x < columns; ++x) sum[x] = half[0] * middle[x];
        for (int64_t j = radius; j > 0; --j) {
            const double weight = half[j];
            for (int64_t x = 0; x < columns; ++x) sum[x] += (middle[x - j] + middle[x + j]) * weight;
        }
        Real* to = out + y * columns;
        for (int64_t x = 0; x < columns; ++x) to[x] = (Real)sum[x];
    }
}

// Points in square cells of the plane: those of cell c are at first[c] … first[c + 1], by ascending distance from the
// plane.
struct Buckets {
    struct Point {
        double away, y, x;  // away: squared distance from the plane
        int64_t index;
    };

    double low_y, low_x, side;
    int64_t rows, columns;
    std::vector<int64_t> first;
    std::vector<Point> points;

    Buckets(const float* given, int64_t m, double z, double side) : side(side), points(m) {
        double high_y = given[1], high_x = given[2];
        low_y = high_y;
        low_x = high_x;
        for (int64_t i = 0; i < m; ++i) {
            low_y = std::min(low_y, (double)given[3 * i + 1]);
            high_y = std::max(high_y, (double)given[3 * i + 1]);
            low_x = std::min(low_x, (double)given[3 * i + 2]);
            high_x = std::max(high_x, (double)given[3 * i + 2]);
        }
        rows = (int64_t)((high_y - low_y) / side) + 1;
        columns = (int64_t)((high_x - low_x) / side) + 1;
        first.assign(rows * columns + 1, 0);
        std::vector<int64_t> cell(m);
        for (int64_t i = 0; i < m; ++i) {
            cell[i] = row_of(given[3 * i + 1]) * columns + column_of(given[3 * i + 2]);
            ++first[cell[i] + 1];
        }
        for (size_t c = 1; c < first.size(); ++c) first[c] += first[c - 1];
        std::vector<int64_t> next(first.begin(), first.end() - 1);
        for (int64_t i = 0; i < m; ++i) {
            const double rise = z - (double)given[3 * i];
            points[next[cell[i]]++] = {rise * rise, (double)given[3 * i + 1], (double)given[3 * i + 2], i};
        }
        for (size_t c = 0; c + 1 < first.size(); ++c)
            std::sort(points.begin() + first[c], points.begin() + first[c + 1],
                      [](const Point& a, const Point& b) { return a.away < b.away; });
    }

    int64_t row_of(double y) const { return std::clamp((int64_t)floor((y - low_y) / side), (int64_t)0, rows - 1); }
    int64_t column_of(double x) const {
        return std::clamp((int64_t)floor((x - low_x) / side), (int64_t)0, columns - 1);
    }
};

// The nearest points found so far, by ascending squared distance.
struct Nearest {
    std::vector<double> squared;
    std::vector<int64_t> index;

    explicit Nearest(int64_t count) : squared(count), index(count) {}

    void clear() { std::fill(squared.begin(), squared.end(), std::numeric_limits<double>::infinity()); }

    double worst() const { return squared.back(); }

    void add(double value, int64_t which) {
        int64_t place = (int64_t)squared.size() - 1;
        for (; place > 0 && squared[place - 1] > value; --place) {
            squared[place] = squared[place - 1];
            index[place] = index[place - 1];
        }
        squared[place] = value;
        index[place] = which;
    }
};

void search(const Buckets& in, int64_t row, int64_t column, double y, double x, Nearest& found) {
    const int64_t c = row * in.columns + column;
    for (int64_t i = in.first[c]; i < in.first[c + 1]; ++i) {
        const Buckets::Point& point = in.points[i];
        if (point.away >= found.worst()) return;
        const double dy = y - point.y, dx = x - point.x;
        const double squared = (point.away + dy * dy) + dx * dx;
        if (squared < found.worst()) found.add(squared, point.index);
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

void spline_rows(const float* plane, int64_t columns, const int64_t* index, const float* weight, int64_t rows,
                 float* out) {
    for (int64_t y = 0; y < rows; ++y) {
        const float* from[4];
        float w[4];
        for (int k = 0; k < 4; ++k) {
            from[k] = plane + index[k * rows + y] * columns;
            w[k] = weight[k * rows + y];
        }
        float* to = out + y * columns;
        for (int64_t x = 0; x < columns; ++x)
            to[x] = ((w[0] * from[0][x] + w[1] * from[1][x]) + w[2] * from[2][x]) + w[3] * from[3][x];
    }
}

void nearest_points(const float* points, int64_t m, const float* x, const float* y, int64_t n, double z, double spacing,
                    int64_t count, float* distance, int64_t* index) {
    const Buckets buckets(points, m, z, spacing);
    Nearest found(count);
    for (int64_t i = 0; i < n; ++i) {
        const double px = x[i], py = y[i];
        const int64_t row = buckets.row_of(py), column = buckets.column_of(px);
        const int64_t most = std::max(buckets.rows, buckets.columns);
        found.clear();
        for (int64_t ring = 0; ring <= most; ++ring) {
            for (int64_t r = row - ring; r <= row + ring; ++r) {
                if (r < 0 || r >= buckets.rows) continue;
                const bool edge = r == row - ring || r == row + ring;
                for (int64_t c = column - ring; c <= column + ring; c += edge || ring == 0 ? 1 : 2 * ring)
                    if (c >= 0 && c < buckets.columns) search(buckets, r, c, py, px, found);
            }
            // Points outside the searched square are at least as far as its nearest side.
            const double inside = std::min(
                std::min(py - (buckets.low_y + (row - ring) * spacing), buckets.low_y + (row + ring + 1) * spacing - py),
                std::min(px - (buckets.low_x + (column - ring) * spacing),
                         buckets.low_x + (column + ring + 1) * spacing - px));
            if (inside > 0 && found.worst() < inside * inside * (1 - 1e-9)) break;
        }
        for (int64_t k = 0; k < count; ++k) {
            distance[i * count + k] = (float)sqrt(found.squared[k]);
            index[i * count + k] = found.index[k];
        }
    }
}

}  // namespace ildfv
