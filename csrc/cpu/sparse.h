// Where few components matter to a descriptor: lists of the rows of each component, lanes = dimensions.
#pragma once

#include "scores.h"

namespace ildfv {
namespace {

// More pairs than this share of all, and computing all of them at once is faster.
constexpr double SPARSE = 0.35;

// A component this far below the best adds less to the sum than `real` can hold, and has no posterior to count.
template <class real>
inline real depth(real threshold) {
    if (sizeof(real) == 4) return threshold > (real)4e-8 ? (real)17 : (real)INFINITY;
    return threshold > (real)4e-18 ? (real)40 : (real)INFINITY;
}

// Exact scores of a component for listed rows. Writes up to W − 1 beyond n.
template <class real>
__attribute__((noinline)) void pair_scores(const Constants<real>& constants, const Scratch<real>& s, int64_t q, const int* row, int64_t n, real* score) {
    constexpr int W = Lanes<real>::count, G = ILDFV_VECTOR_BYTES == 64 && W >= 8 ? 8 : W < 4 ? W : 4;  // rows at once
    const int64_t stride = constants.d_padded;
    const real *a = constants.a + q * stride, *b = constants.b + q * stride;
    for (int64_t i = 0; i < n; i += W) {
        vec<real> sums[W];
#pragma GCC unroll 4
        for (int64_t g = 0; g < W; g += G) {
            if (i + g >= n) {
#pragma GCC unroll 8
                for (int r = 0; r < G; ++r) sums[g + r] = vec<real>{};
                continue;
            }
            const real* y[G];
            for (int r = 0; r < G; ++r) y[r] = s.rows + row[smaller(i + g + r, n - 1)] * s.row_stride;
            vec<real> sum[G] = {};
            for (int64_t j = 0; j < stride; j += W) {
                const vec<real> scale = load(a + j), shift = load(b + j);
#pragma GCC unroll 8
                for (int r = 0; r < G; ++r) sum[r] = squares(sum[r], load(y[r] + j), scale, shift);
            }
#pragma GCC unroll 8
            for (int r = 0; r < G; ++r) sums[g + r] = sum[r];
        }
        store(score + i, constants.c[q] - (real)0.5 * (lane_sums<real>(sums) - (real)constants.d));
    }
}

// Finds the components that can matter to each row: the most promising in `best`, listed, with its exact score in `top`;
// all that are left as entries after it. Returns the share of pairs that are left.
//
// With Q = Σ t² over the few dimensions, c − ½ Q bounds the score. Rounding moves t by at most δ = 4·10⁻⁷ (|t| + |b|), so
// Q by at most BOUND·Q + Σ b² · 2·10⁻¹⁰: `slack` holds that.
template <class real>
__attribute__((noinline)) double choose(const Constants<real>& constants, Scratch<real>& s, int64_t rows, real threshold) {
    constexpr int W = Lanes<real>::count;
    const int64_t k = constants.k, k_padded = constants.k_padded;
    if (depth(threshold) == (real)INFINITY) return 1;
    memset(s.counts, 0, k * sizeof(int));
    for (int64_t row = 0; row < rows; row += W) {
        real* bounds = s.bounds + row * k_padded;
        typename Lanes<real>::integers best = {}, number = {};
        vec<real> highest = all(-(real)INFINITY);
        for (int64_t v = 0; v < k_padded; v += W) {
            vec<real> block[W];
#pragma GCC unroll 16
            for (int i = 0; i < W; ++i) block[i] = load(s.scores + (row + i) * k_padded + v);
            transpose<real>(block);
#pragma GCC unroll 16
            for (int i = 0; i < W; ++i) {
                store(bounds + (v + i) * W, block[i]);
                const vec<real> guess = block[i] + constants.guess[v + i];
                best = guess > highest ? number : best;
                highest = larger(highest, guess);
                number += 1;
            }
        }
        for (int64_t i = 0; i < smaller(W, rows - row); ++i) {
            const int64_t q = (int64_t)best[i];
            s.best[row + i] = (int)q;
            s.entry_row[q * s.capacity + s.counts[q]++] = (int)(row + i);
        }
    }
    for (int64_t q = 0; q < k; ++q) {
        if (!s.counts[q]) continue;
        const int* row = s.entry_row + q * s.capacity;
        real* score = s.entry_value + q * s.capacity;
        pair_scores(constants, s, q, row, s.counts[q], score);
        for (int i = 0; i < s.counts[q]; ++i) s.top[row[i]] = score[i];
    }
    memcpy(s.scored, s.counts, k * sizeof(int));
    int64_t pairs = 0;
    for (int64_t row = 0; row < rows; row += W) {
        const real* bounds = s.bounds + row * k_padded;
        const vec<real> top = load(s.top + row), size = top < (real)0 ? -top : top;
        const vec<real> cut = top - depth(threshold) - (real)1e-5 * size;
        int numbers[W];
        for (int i = 0; i < W; ++i) numbers[i] = (int)row + i;
        const unsigned inside = first_bits(rows - row);
        for (int64_t q = 0; q < k; ++q) {
            unsigned m = bits(load(bounds + q * W) * (real)(1 - BOUND) + constants.slack[q] >= cut);
            m &= others<W>(s.best + row, (int)q) & inside;
            int* entry = s.entry_row + q * s.capacity + s.counts[q];
            s.counts[q] += compress(entry, numbers, m);
            pairs += __builtin_popcount(m);
        }
    }
    return (double)pairs / (double)(rows * k);
}

// The posteriors that count, as entries of their components.
template <class real>
__attribute__((noinline)) void pair_posteriors(const Constants<real>& constants, Scratch<real>& s, int64_t rows, real threshold) {
    constexpr int W = Lanes<real>::count;
    const int64_t k = constants.k;
    for (int64_t q = 0; q < k; ++q) {  // exact scores; most fall short
        int* row = s.entry_row + q * s.capacity;
        real* score = s.entry_value + q * s.capacity;
        const int known = s.scored[q], n = s.counts[q];
        if (n == known) continue;
        pair_scores(constants, s, q, row + known, n - known, score + known);
        int kept = known;
        for (int i = known; i < n; i += W) {
            const vec<real> value = load(score + i);
            const unsigned keep = bits(value >= gather(s.top, row + i) - depth(threshold)) & first_bits(n - i);
            if (keep) kept += compress<real>(row + kept, score + kept, row + i, value, keep);
        }
        for (int i = known; i < kept; ++i)
            if (score[i] > s.top[row[i]]) s.top[row[i]] = score[i];
        s.counts[q] = kept;
    }
    memset(s.sum, 0, rows * sizeof(real));
    for (int64_t q = 0; q < k; ++q) {
        const int* row = s.entry_row + q * s.capacity;
        real* value = s.entry_value + q * s.capacity;
        for (int i = 0; i < s.counts[q]; i += W) store(value + i, exponential(load(value + i) - gather(s.top, row + i)));
        for (int i = 0; i < s.counts[q]; ++i) s.sum[row[i]] += value[i];
    }
    for (int64_t q = 0; q < k; ++q) {
        int* row = s.entry_row + q * s.capacity;
        real* value = s.entry_value + q * s.capacity;
        const int n = s.counts[q];
        int kept = 0;
        for (int i = 0; i < n; i += W) {
            const vec<real> posterior = load(value + i) / gather(s.sum, row + i);
            const unsigned keep = bits(posterior >= threshold) & first_bits(n - i);
            kept += compress<real>(row + kept, value + kept, row + i, posterior, keep);
        }
        s.counts[q] = kept;
    }
}

// Σ γ t and Σ γ t² of N vectors of dimensions over n entries.
template <class real, int N>
__attribute__((noinline)) void accumulate(const int* row, const real* posterior, int n, const real* y, int64_t stride, const real* a, const real* b,
                vec<real>* s1, vec<real>* s2) {
    constexpr int W = Lanes<real>::count;
    vec<real> scale[N], shift[N], first[N] = {}, second[N] = {};
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) scale[v] = load(a + v * W), shift[v] = load(b + v * W);
    for (int i = 0; i < n; ++i) {
        const real* line = y + row[i] * stride;
        const vec<real> gamma = all(posterior[i]);
#pragma GCC unroll 4
        for (int v = 0; v < N; ++v) {
            const vec<real> t = standardised(load(line + v * W), scale[v], shift[v]);
            const vec<real> weighted = gamma * t;
            first[v] += weighted;
            second[v] += weighted * t;
        }
    }
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) s1[v] = first[v], s2[v] = second[v];
}

template <class real, class out>
inline void put(const vec<real>* values, int64_t count, out* to, bool add) {
    const real* v = (const real*)values;
    if (add)
        for (int64_t j = 0; j < count; ++j) to[j] += (out)v[j];
    else
        for (int64_t j = 0; j < count; ++j) to[j] = (out)v[j];
}

// Sums of one component over n entries, written to s0, s1, s2, or added to them.
template <class real, class out>
__attribute__((noinline)) void component(const Constants<real>& constants, const Scratch<real>& s, int64_t q, const int* row, const real* posterior,
               int n, out* s0, out* s1, out* s2, bool add) {
    constexpr int W = Lanes<real>::count, N = 4;
    const int64_t d = constants.d, stride = constants.d_padded;
    const real *a = constants.a + q * stride, *b = constants.b + q * stride;
    double sum = 0;
    for (int i = 0; i < n; ++i) sum += posterior[i];
    s0[q] = (out)(add ? s0[q] + sum : sum);
    for (int64_t j = 0; j < d; j += N * W) {
        vec<real> first[N], second[N];
        auto go = [&](auto width) {
            accumulate<real, decltype(width)::n>(row, posterior, n, s.rows + j, s.row_stride, a + j, b + j, first, second);
        };
        const int64_t left = (d - j + W - 1) / W;
        left >= 4 ? go(Width<4>()) : left == 3 ? go(Width<3>()) : left == 2 ? go(Width<2>()) : go(Width<1>());
        put<real>(first, smaller(d - j, N * W), s1 + q * d + j, add);
        put<real>(second, smaller(d - j, N * W), s2 + q * d + j, add);
    }
}

// Sums of the listed posteriors of rows [from, to) of the block: added, and `touched` set; written if there is none.
template <class real, class out>
__attribute__((noinline)) void sparse_moments(const Constants<real>& constants, Scratch<real>& s, int64_t from, int64_t to, int64_t rows, out* s0, out* s1,
                    out* s2, unsigned char* touched) {
    for (int64_t q = 0; q < constants.k; ++q) {
        const int* row = s.entry_row + q * s.capacity;
        const real* posterior = s.entry_value + q * s.capacity;
        int n = s.counts[q];
        if (from > 0 || to < rows) {  // other segments share the block
            n = 0;
            for (int i = 0; i < s.counts[q]; ++i)
                if (row[i] >= from && row[i] < to) s.some_row[n] = row[i], s.some_value[n++] = posterior[i];
            row = s.some_row;
            posterior = s.some_value;
        }
        if (n == 0) continue;
        component(constants, s, q, row, posterior, n, s0, s1, s2, touched != nullptr);
        if (touched) touched[q] = 1;
    }
}

}  // namespace
}  // namespace ildfv
