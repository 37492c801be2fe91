// The kernel, once for every instruction set and precision: included by baseline.cpp, avx2.cpp and avx512.cpp.
//
// A block of descriptors at a time:
//   few components can matter: the pairs that can, found by bounds, their posteriors and moments  (candidates.h, sparse.h)
//   many can: all scores, posteriors and moments as dense products                                (scores.h, dense.h)
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
// two components compete, and below −100 000 by enough to miss that they do. A score that is no number is told nowhere.
template <class real>
bool precise(const Scratch<real>& s, int64_t rows) {
    if (sizeof(real) == 8) return true;
    bool all = true;
    for (int64_t i = 0; i < rows; ++i) all &= s.top[i] >= -1000 || (s.top[i] >= -100000 && s.sum[i] <= (real)(1 + 1e-6));
    return all;
}

// Rows of one or several segments, from `at` in the first of them on, that are worked on together.
struct Block {
    int64_t rows, segment, at, next_segment, next_at;
};

// A segment goes into as few blocks as it can, of equal length.
inline Block block_at(const Segment* segments, int64_t count, int64_t segment, int64_t at, int64_t most) {
    Block block{0, segment, at, segment, at};
    while (block.next_segment < count) {
        const Segment& piece = segments[block.next_segment];
        const int64_t left = piece.end - block.next_at, pieces = (left + most - 1) / most, n = (left + pieces - 1) / pieces;
        if (n > most - block.rows) break;
        block.rows += n;
        block.next_at += n;
        if (block.next_at < piece.end) break;
        if (++block.next_segment < count) block.next_at = segments[block.next_segment].begin;
    }
    return block;
}

// The block's descriptors less `centre` in scratch. Returns the first map that holds a value that is not finite, or −1.
template <class real>
int64_t lay_out(const Task& task, const Segment* segments, const Block& block, const real* centre, Scratch<real>& s) {
    int64_t bad = -1, row = 0, at = block.at;
    for (int64_t g = block.segment; row < block.rows; ++g) {
        const Segment& piece = segments[g];
        if (g > block.segment) at = piece.begin;
        const int64_t n = smaller(piece.end - at, block.rows - row);
        if (!lay_out(task.maps[piece.map], task.element, at, n, row, centre, task.d, s) && bad < 0) bad = piece.map;
        row += n;
    }
    return bad;
}

constexpr int64_t AHEAD = 64;  // rows fetched before they are needed; maps mostly follow each other in memory

// Where descriptor `at` of a segment lies, if its row is contiguous; else null.
inline const char* place(const Task& task, const Segment& piece, int64_t at) {
    const Map& map = task.maps[piece.map];
    return map.dim_stride == 1 && map.row_stride > 0 ? (const char*)map.data + at * map.row_stride * SIZES[task.element] : nullptr;
}

// Whether the block's rows can be worked on where they lie.
template <class real>
bool lies_well(const Task& task, const Segment* segments, const Block& block, const Constants<real>& constants) {
    return sizeof(real) == 4 && task.element == kFloat32 && *constants.raw && constants.d == constants.d_padded &&
           block.at + block.rows <= segments[block.segment].end && place(task, segments[block.segment], block.at);
}

template <class real>
int64_t run(const Task& task, const Segment* segments, int64_t count, Partial& partial, void* memory) {
    const int64_t k = task.k, d = task.d;
    const real threshold = (real)task.threshold;
    const Constants<real> constants((void*)task.constants, k, d);
    Scratch<real> s(memory, k, d);
    int64_t bad = -1;
    // Hopeless: nearly all pairs matter, or two of each row are too many already. It is not asked again in this job.
    bool hopeless = depth(threshold) == (real)INFINITY || 2 > SPARSE * (double)k, dense = hopeless;
    const int64_t probe = smaller(s.block, 256);  // rows that show how many components matter; dense blocks stay as short
    Block block = block_at(segments, count, 0, count ? segments[0].begin : 0, probe);
    for (; block.segment < count; block = block_at(segments, count, block.next_segment, block.next_at, dense ? probe : s.block)) {
        const int64_t rows = block.rows;
        auto lay_out_less = [&](const real* centre) {
            const int64_t found = lay_out(task, segments, block, centre, s);
            if (bad < 0) bad = found;
        };
        s.ahead = block.next_segment < count ? place(task, segments[block.next_segment], block.next_at) : nullptr;
        s.ahead_bytes = d * SIZES[task.element];
        Rows<real> x{s.rows, s.row_stride, constants.rest};
        if (!hopeless) {
            if (lies_well(task, segments, block, constants)) {
                const Map& map = task.maps[segments[block.segment].map];
                x = {(const real*)map.data + block.at * map.row_stride, map.row_stride, constants.rest};
                s.ahead = (const char*)(x.at + AHEAD * x.stride);
            } else {
                lay_out_less(constants.base);
            }
            const double alive = sparse_posteriors(constants, x, segments, block.segment, block.at, rows, threshold, s);
            dense = alive > SPARSE;
            hopeless = alive > 0.8;
        }
        if (dense) {
            lay_out_less(constants.centre);
            x = {s.rows, s.row_stride, constants.none};
            score(constants, s, rows);
            posteriors(constants, s, rows, threshold);
        }
        if (!precise(s, rows)) return IMPRECISE;
        bool listed = !dense;
        int64_t begin = block.at, g = block.segment;
        for (int64_t row = 0, stop; row < rows; row = stop, ++g) {  // one segment's share of the block after the other
            const Segment& piece = segments[g];
            stop = smaller(rows, row + piece.end - begin);
            const bool ends = begin + stop - row == piece.end, inside = task.straight && ends && begin == piece.begin;
            const double likelihood = log_likelihood(s, row, stop, *constants.offset);
            const bool product = dense && *constants.close && stop - row >= 16;
            if (!product && !listed) list_posteriors(constants, s, rows), listed = true;
            if (inside && !task.sums.in_double) {
                const Sums& to = task.sums;
                const int64_t o = piece.map * k;
                float *s0 = (float*)to.s0 + o, *s1 = (float*)to.s1 + o * d, *s2 = (float*)to.s2 + o * d;
                if (product)
                    dense_moments(constants, s, row, stop, s0, s1, s2);
                else
                    sparse_moments(constants, x, s, row, stop, rows, s0, s1, s2, (unsigned char*)nullptr);
                ((float*)to.log_likelihood)[piece.map] = (float)likelihood;
            } else {
                if (product) {
                    dense_moments(constants, s, row, stop, partial.s0, partial.s1, partial.s2);
                    memset(partial.touched, 1, k);
                } else {
                    sparse_moments(constants, x, s, row, stop, rows, partial.s0, partial.s1, partial.s2, partial.touched);
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
