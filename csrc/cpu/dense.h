// Where most components matter to a descriptor: all posteriors, and moments as products of matrices.
#pragma once

#include "scores.h"

namespace ildfv {
namespace {

// Scores become posteriors, those below the threshold 0; `top` and `sum` for the log likelihood.
template <class real>
__attribute__((noinline)) void posteriors(const Constants<real>& constants, Scratch<real>& s, int64_t rows, real threshold) {
    constexpr int W = Lanes<real>::count;
    for (int64_t row = 0; row < rows; ++row) {
        real *p = s.scores + row * constants.k_padded, *end = p + constants.k_padded;
        vec<real> top = load(p), sum = {};
        for (real* q = p + W; q < end; q += W) top = larger(top, load(q));
        const real highest = largest<real>(top);
        for (real* q = p; q < end; q += W) {
            const vec<real> e = exponential(load(q) - highest);
            store(q, e);
            sum += e;
        }
        s.top[row] = highest;
        s.sum[row] = total<real>(sum);
        const real inverse = 1 / s.sum[row];
        unsigned* alive = s.alive + row * (constants.k_padded / W);
        for (real* q = p; q < end; q += W) {
            const vec<real> gamma = load(q) * inverse;
            const auto counts = (gamma >= threshold) & (gamma > (real)0);  // the second for padding at threshold 0
            store(q, counts ? gamma : vec<real>{});
            *alive++ = bits(counts);
        }
    }
}

// The same posteriors as entries of their components.
template <class real>
__attribute__((noinline)) void list_posteriors(const Constants<real>& constants, Scratch<real>& s, int64_t rows) {
    constexpr int W = Lanes<real>::count;
    const int64_t vectors = constants.k_padded / W;
    s.entries = 0;
    for (int64_t row = 0; row < rows; ++row)
        for (int64_t v = 0; v < vectors; ++v)
            for (unsigned m = s.alive[row * vectors + v]; m; m &= m - 1) {
                const int64_t q = v * W + __builtin_ctz(m), entry = s.entries++;
                s.entry_row[entry] = (int)row;
                s.entry_component[entry] = (int)q;
                s.entry_value[entry] = s.scores[row * constants.k_padded + q];
            }
    s.sort(constants.k);
}

// s1 += a Σ γ y + b Σ γ and s2 += a² Σ γ y² + 2ab Σ γ y + b² Σ γ over rows [from, to), C components × N vectors of
// dimensions. Only for mixtures that are `close`: the terms must not be much larger than their sum.
template <class real, int N, class out>
__attribute__((noinline)) void product(const Constants<real>& constants, const Scratch<real>& s, int64_t from, int64_t to, int64_t q, int64_t j, out* s0,
             out* s1, out* s2) {
    constexpr int W = Lanes<real>::count, C = COMPONENTS;
    const int64_t k_padded = constants.k_padded, d = constants.d;
    vec<real> first[C][N] = {}, second[C][N] = {};
    const real *y = s.rows + from * s.row_stride + j, *gamma = s.scores + from * k_padded + q;
    for (int64_t row = from; row < to; ++row, y += s.row_stride, gamma += k_padded) {
        vec<real> value[N], square[N];
#pragma GCC unroll 4
        for (int v = 0; v < N; ++v) value[v] = load(y + v * W), square[v] = value[v] * value[v];
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) {
            const vec<real> g = all(gamma[c]);
#pragma GCC unroll 4
            for (int v = 0; v < N; ++v) first[c][v] += g * value[v], second[c][v] += g * square[v];
        }
    }
    real sums[C][2][N * W];  // a copy: taking the address of the accumulators would keep them out of registers
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c)
#pragma GCC unroll 4
        for (int v = 0; v < N; ++v) store(sums[c][0] + v * W, first[c][v]), store(sums[c][1] + v * W, second[c][v]);
    for (int64_t c = 0; c < C && q + c < constants.k; ++c) {
        const real* line = constants.lines + ((q + c) * constants.d_padded + j) * 2;
        const double sum = s.posterior_sums[q + c];
        const real *u = sums[c][0], *w = sums[c][1];
        if (j == 0) s0[q + c] += (out)sum;
        for (int64_t i = 0; i < smaller(N * W, d - j); ++i) {
            const double scale = line[i], shift = line[W + i], scaled = scale * u[i];
            s1[(q + c) * d + j + i] += (out)(scaled + shift * sum);
            s2[(q + c) * d + j + i] += (out)(scale * scale * w[i] + 2 * shift * scaled + shift * shift * sum);
        }
    }
}

// Adds the moments of rows [from, to).
template <class real, class out>
__attribute__((noinline)) void dense_moments(const Constants<real>& constants, Scratch<real>& s, int64_t from, int64_t to, out* s0, out* s1, out* s2) {
    constexpr int W = Lanes<real>::count;
    for (int64_t v = 0; v < constants.k_padded; v += W) {
        vec<real> sum = {};
        for (int64_t row = from; row < to; ++row) sum += load(s.scores + row * constants.k_padded + v);
        store(s.posterior_sums + v, sum);
    }
    for (int64_t j = 0; j < constants.d; j += W)
        for (int64_t q = 0; q < constants.k; q += COMPONENTS) product<real, 1>(constants, s, from, to, q, j, s0, s1, s2);
}

}  // namespace
}  // namespace ildfv
