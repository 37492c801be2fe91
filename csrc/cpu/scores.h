// Scores of all components over all dimensions, in tiles of rows × components kept in registers.
#pragma once

#include "constants.h"

namespace ildfv {
namespace {

constexpr int64_t CHAIN = 32;  // consecutive float additions; with more, scores lose their fifth digit at d = 256

// Dimensions [from, to) of ROWS rows and N vectors of components; `to` − `from` ≤ CHAIN.
template <class real, int N>
inline void tile(const Constants<real>& constants, const real* rows, int64_t stride, int64_t vector, int64_t from,
                 int64_t to, real* scores, int64_t next, const char* ahead) {
    constexpr int W = Lanes<real>::count;
    const real* pairs = constants.pairs + (vector * constants.d + from) * 2 * W;
    vec<real> sum[ROWS][N] = {};
    for (int64_t j = from; j < to; ++j, pairs += 2 * W) {
        __builtin_prefetch(ahead + 64 * j, 0, 2);
        vec<real> a[N], b[N];
#pragma GCC unroll 4
        for (int v = 0; v < N; ++v) {
            a[v] = load(pairs + v * constants.d * 2 * W);
            b[v] = load(pairs + v * constants.d * 2 * W + W);
        }
        const real* y = rows + j;
#pragma GCC unroll 16
        for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 4
            for (int v = 0; v < N; ++v) sum[r][v] = squares(sum[r][v], all(y[r * stride]), a[v], b[v]);
    }
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < N; ++v) {
            real* score = scores + r * W + v * next;
            const vec<real> before = from ? load(score) : load(constants.c + vector * W + v * W);
            store(score, before - (real)0.5 * (sum[r][v] - (real)(to - from)));
        }
}

// scores = c − ½ Σ (t² − 1) of `count` rows, t = y·a + b.
// t² − 1 rather than t² keeps the sum near 0, where float is more precise.
template <class real>
void score(const Constants<real>& constants, const Rows<real>& x, int64_t count, Scratch<real>& s) {
    constexpr int W = Lanes<real>::count;
    const int64_t vectors = constants.k_padded / W, d = constants.d, whole = count / ROWS * ROWS;
    for (int64_t row = whole; row < count; ++row)
        memcpy(s.tail + (row - whole) * s.row_stride, x.at + row * x.stride, d * sizeof(real));
    for (int64_t v = 0; v < vectors; v += VECTORS)
        for (int64_t row = 0; row < count; row += ROWS) {
            const Rows<real> y = row < whole ? Rows<real>{x.at + row * x.stride, x.stride, x.shift}
                                             : Rows<real>{s.tail, s.row_stride, x.shift};
            const char* ahead = v == 0 && s.ahead ? s.ahead + row * s.ahead_bytes : (const char*)y.at;
            for (int64_t j = 0; j < d; j += CHAIN) {
                real* scores = s.scores + (v * s.capacity + row) * W;
                if (vectors - v >= VECTORS)
                    tile<real, VECTORS>(constants, y.at, y.stride, v, j, smaller(j + CHAIN, d), scores, s.capacity * W,
                                        ahead);
                else
                    tile<real, 1>(constants, y.at, y.stride, v, j, smaller(j + CHAIN, d), scores, s.capacity * W,
                                  ahead);
            }
        }
}

}  // namespace
}  // namespace ildfv
