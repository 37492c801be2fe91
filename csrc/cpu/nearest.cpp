// The points nearest to places in a plane. Places in the same square cell of the plane share one list of candidates.
#include <math.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "drawing.h"
#include "exact.h"

namespace ildfv {
namespace {

constexpr double SLACK = 1e-9;  // relative; covers the rounding of the bounds of distances

struct Point {
    double away, y, x;  // away: squared distance from the plane
    int64_t index;
};

// The squares of the smallest distances so far, ascending, with the points' indices.
struct Smallest {
    std::vector<double> squared;
    std::vector<int64_t> index;

    explicit Smallest(int64_t count) : squared(count), index(count) {}

    void clear() { std::fill(squared.begin(), squared.end(), std::numeric_limits<double>::infinity()); }

    double last() const { return squared.back(); }

    void add(double value, int64_t which) {
        if (!(value < squared.back())) return;
        int64_t place = (int64_t)squared.size() - 1;
        for (; place > 0 && squared[place - 1] > value; --place) {
            squared[place] = squared[place - 1];
            index[place] = index[place - 1];
        }
        squared[place] = value;
        index[place] = which;
    }
};

struct Range {
    double low = std::numeric_limits<double>::infinity(), high = -low;

    void add(double value) {
        low = std::min(low, value);
        high = std::max(high, value);
    }
    int64_t cells(double side) const { return (int64_t)((high - low) / side) + 1; }
    int64_t cell_of(double value, double side) const {
        return std::clamp((int64_t)((value - low) / side), (int64_t)0, cells(side) - 1);
    }
};

// Squared distances of a value from the nearest and from the farthest point of the interval [low, high].
double nearest_of(double value, double low, double high) {
    const double d = std::max(std::max(low - value, value - high), 0.0);
    return d * d;
}
double farthest_of(double value, double low, double high) {
    const double d = std::max(value - low, high - value);
    return d * d;
}

// Square cells that cover all points and places. Those of cell c are points[first[c]] … points[first[c + 1]].
class Cells {
  public:
    const double side;

    Cells(const float* given, int64_t m, const float* x, const float* y, int64_t n, double z, double side)
        : side(side), points(m) {
        for (int64_t i = 0; i < m; ++i) {
            across_y.add(given[3 * i + 1]);
            across_x.add(given[3 * i + 2]);
        }
        for (int64_t i = 0; i < n; ++i) {
            across_y.add(y[i]);
            across_x.add(x[i]);
        }
        rows = across_y.cells(side);
        columns = across_x.cells(side);
        first.assign(rows * columns + 1, 0);
        std::vector<int64_t> cell(m);
        for (int64_t i = 0; i < m; ++i) {
            cell[i] = cell_of(given[3 * i + 1], given[3 * i + 2]);
            ++first[cell[i] + 1];
        }
        for (size_t c = 1; c < first.size(); ++c) first[c] += first[c - 1];
        std::vector<int64_t> next(first.begin(), first.end() - 1);
        for (int64_t i = 0; i < m; ++i) {
            const double rise = z - (double)given[3 * i];
            points[next[cell[i]]++] = {rise * rise, (double)given[3 * i + 1], (double)given[3 * i + 2], i};
        }
    }

    int64_t count() const { return rows * columns; }

    int64_t cell_of(double y, double x) const {
        return across_y.cell_of(y, side) * columns + across_x.cell_of(x, side);
    }

    // The points that can be among the `count` nearest to a place of the cell, by ascending distance from the cell.
    // bound: their smallest squared distances from the cell.
    void candidates(int64_t cell, int64_t count, std::vector<Point>& found, std::vector<double>& bound) const {
        const int64_t row = cell / columns, column = cell % columns, most = std::max(rows, columns);
        const double margin = SLACK * side * most;
        const double low_y = across_y.low + row * side - margin, high_y = low_y + side + 2 * margin;
        const double low_x = across_x.low + column * side - margin, high_x = low_x + side + 2 * margin;
        std::vector<std::pair<double, const Point*>> seen;
        Smallest farthest(count);
        farthest.clear();
        for (int64_t ring = 0; ring <= most; ++ring) {
            for (int64_t r = std::max(row - ring, (int64_t)0); r <= std::min(row + ring, rows - 1); ++r) {
                const bool edge = r == row - ring || r == row + ring;
                for (int64_t c = column - ring; c <= column + ring; c += edge || ring == 0 ? 1 : 2 * ring) {
                    if (c < 0 || c >= columns) continue;
                    for (int64_t i = first[r * columns + c]; i < first[r * columns + c + 1]; ++i) {
                        const Point& p = points[i];
                        const double near = p.away + nearest_of(p.y, low_y, high_y) + nearest_of(p.x, low_x, high_x);
                        if (near > farthest.last()) continue;
                        seen.push_back({near * (1 - SLACK), &p});
                        const double far = p.away + farthest_of(p.y, low_y, high_y) + farthest_of(p.x, low_x, high_x);
                        farthest.add(far * (1 + SLACK), i);
                    }
                }
            }
            // All points of the next ring are at least this far from the cell.
            const double beyond = std::max(ring * side - 2 * margin, 0.0);
            if (farthest.last() < beyond * beyond) break;
        }
        const double last = farthest.last();
        seen.erase(std::remove_if(seen.begin(), seen.end(), [&](const auto& one) { return one.first > last; }),
                   seen.end());
        std::sort(seen.begin(), seen.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
        for (const auto& [near, point] : seen) {
            found.push_back(*point);
            bound.push_back(near);
        }
    }

  private:
    Range across_y, across_x;
    int64_t rows, columns;
    std::vector<int64_t> first;
    std::vector<Point> points;
};

struct List {
    std::vector<Point> points;
    std::vector<double> bound;
};

}  // namespace

void nearest_points(const float* points, int64_t m, const float* x, const float* y, int64_t n, double z, double spacing,
                    int64_t count, float* distance, int64_t* index) {
    const Cells cells(points, m, x, y, n, z, spacing);
    std::vector<List> lists(cells.count());
    Smallest found(count);
    for (int64_t i = 0; i < n; ++i) {
        const double px = x[i], py = y[i];
        const int64_t cell = cells.cell_of(py, px);
        List& list = lists[cell];
        if (list.points.empty()) cells.candidates(cell, count, list.points, list.bound);
        found.clear();
        for (size_t j = 0; j < list.points.size() && list.bound[j] < found.last(); ++j) {
            const Point& p = list.points[j];
            const double dy = py - p.y, dx = px - p.x;
            found.add((p.away + dy * dy) + dx * dx, p.index);
        }
        for (int64_t k = 0; k < count; ++k) {
            distance[k * n + i] = (float)sqrt(found.squared[k]);
            index[k * n + i] = found.index[k];
        }
    }
}

}  // namespace ildfv
