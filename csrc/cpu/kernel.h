// The kernel, once for every instruction set and precision: included by baseline.cpp, avx2.cpp and avx512.cpp.
//
// A block of descriptors at a time:
//   1. rows    centred, contiguous, converted to `real`
//   2. bounds  scores from the first few dimensions, the most telling ones: scores only fall as dimensions are added
//   3a. few components can matter: their exact scores, posteriors and moments, pair by pair              (sparse.h)
//   3b. many can: the other dimensions for all components, posteriors and moments as dense products      (dense.h)
#pragma once

#include "constants.h"
#include "dense.h"
#include "rows.h"
#include "scores.h"
#include "scratch.h"
#include "sparse.h"

namespace ildfv {
namespace {

// Σ log likelihood of rows [from, to): top + log Σ e^(score − top), one logarithm for many rows.
template <class real>
double log_likelihood(const Scratch<real>& s, int64_t from, int64_t to, double offset) {
    double total = (double)(to - from) * offset, product = 1;
    for (int64_t i = from; i < to; ++i) {
        total += s.top[i];
        product *= s.sum[i];
        if (product > 1e200) total += log(product), product = 1;
    }
    return total + log(product);
}

// Whether float tells the posteriors of all rows: scores below −1000 are rounded by 10⁻⁴ and more, which matters where
// two components compete, and below −100 000 by enough to miss that they do.
template <class real>
bool precise(const Scratch<real>& s, int64_t rows) {
    if (sizeof(real) == 8) return true;
    bool all = true;
    for (int64_t i = 0; i < rows; ++i) all &= s.top[i] >= -1000 || (s.top[i] >= -100000 && s.sum[i] <= (real)(1 + 1e-6));
    return all;
}

// Fills the block from `segment`, `at` onwards; both move on. Returns the number of rows.
template <class real>
int64_t fill(const Task& task, const Segment* segments, int64_t count, int64_t& segment, int64_t& at, int64_t& bad,
             const Constants<real>& constants, Scratch<real>& s) {
    int64_t rows = 0;
    while (segment < count) {
        const Segment& piece = segments[segment];
        const int64_t left = piece.end - at, blocks = (left + s.block - 1) / s.block, n = (left + blocks - 1) / blocks;
        if (n > s.block - rows) break;  // a segment goes into as few blocks as it can
        if (!lay_out(task.maps[piece.map], task.element, at, n, rows, constants, s) && bad < 0) bad = piece.map;
        rows += n;
        at += n;
        if (at < piece.end) break;
        if (++segment < count) at = segments[segment].begin;
    }
    s.ahead = nullptr;
    if (segment < count) {
        const Map& map = task.maps[segments[segment].map];
        const int64_t size = SIZES[task.element];
        if (map.dim_stride == 1 && map.row_stride > 0) {
            s.ahead = (const char*)map.data + at * map.row_stride * size;
            s.ahead_bytes = constants.d * size;
        }
    }
    return rows;
}

template <class real>
int64_t run(const Task& task, const Segment* segments, int64_t count, Partial& partial, void* memory) {
    const int64_t k = task.k, d = task.d;
    const Constants<real> constants((void*)task.constants, k, d);
    Scratch<real> s(memory, k, d);
    int64_t bad = -1, segment = 0, at = count ? segments[0].begin : 0;
    bool hopeless = false;  // nearly all pairs were alive: do not ask again in this job
    while (segment < count) {
        int64_t begin = at, g = segment;
        const int64_t rows = fill(task, segments, count, segment, at, bad, constants, s);
        score(constants, s, rows, 0, constants.few);
        const double alive = hopeless ? 1 : choose(constants, s, rows, (real)task.threshold);
        const bool dense = alive > SPARSE;
        hopeless = alive > 0.8;
        if (dense) {
            score(constants, s, rows, constants.few, d);
            posteriors(constants, s, rows, (real)task.threshold);
        } else {
            pair_posteriors(constants, s, rows, (real)task.threshold);
        }
        if (!precise(s, rows)) return IMPRECISE;
        bool listed = !dense;
        for (int64_t row = 0, stop; row < rows; row = stop, ++g) {  // one segment's share of the block after the other
            const Segment& piece = segments[g];
            stop = smaller(rows, row + piece.end - begin);
            const bool ends = begin + stop - row == piece.end, inside = task.straight && ends && begin == piece.begin;
            const double likelihood = log_likelihood(s, row, stop, *constants.offset);
            const bool product = dense && constants.close && stop - row >= 16;
            if (!product && !listed) list_posteriors(constants, s, rows), listed = true;
            if (inside && !task.sums.in_double) {
                const Sums& to = task.sums;
                const int64_t o = piece.map * k;
                float *s0 = (float*)to.s0 + o, *s1 = (float*)to.s1 + o * d, *s2 = (float*)to.s2 + o * d;
                if (product)
                    dense_moments(constants, s, row, stop, s0, s1, s2);
                else
                    sparse_moments(constants, s, row, stop, rows, s0, s1, s2, (unsigned char*)nullptr);
                ((float*)to.log_likelihood)[piece.map] = (float)likelihood;
            } else {
                if (product) {
                    dense_moments(constants, s, row, stop, partial.s0, partial.s1, partial.s2);
                    memset(partial.touched, 1, k);
                } else {
                    sparse_moments(constants, s, row, stop, rows, partial.s0, partial.s1, partial.s2, partial.touched);
                }
                partial.log_likelihood += likelihood;
                if (task.straight && ends) finish(task.sums, piece.map, partial, k, d);
            }
            begin = g + 1 < count ? segments[g + 1].begin : 0;
        }
    }
    return bad;
}

template <class real>
int64_t constants_bytes(int64_t k, int64_t d) {
    return Constants<real>(nullptr, k, d).bytes;
}

template <class real>
int64_t scratch_bytes(int64_t k, int64_t d) {
    return Scratch<real>(nullptr, k, d).bytes;
}

template <class real>
constexpr Kernel kernel(const char* isa) {
    return {isa, constants_bytes<real>, scratch_bytes<real>, prepare<real>, run<real>};
}

}  // namespace
}  // namespace ildfv
