// Contributions of descriptors to linear functionals of their map's moments, from the listed posteriors.
#pragma once

#include "sparse.h"

namespace ildfv {
namespace {

template <class real>
int64_t lines_bytes(int64_t k, int64_t d, int64_t count) {
    return k * count * round_up(d, Lanes<real>::count) * 2 * (int64_t)sizeof(real);
}

// first, second (count, k, d) as lines (k, count, d_padded / W, 2, W).
template <class real>
void lay_out_functionals(const double* first, const double* second, int64_t k, int64_t d, int64_t count, void* lines) {
    constexpr int W = Lanes<real>::count;
    const int64_t padded = round_up(d, W);
    memset(lines, 0, lines_bytes<real>(k, d, count));
    for (int64_t c = 0; c < count; ++c)
        for (int64_t q = 0; q < k; ++q) {
            real* line = (real*)lines + (q * count + c) * padded * 2;
            for (int64_t j = 0; j < d; ++j) {
                real* at = line + j / W * 2 * W + j % W;
                at[0] = (real)first[(c * k + q) * d + j];
                at[W] = (real)second[(c * k + q) * d + j];
            }
        }
}

// Σ t (first + second t) of E entries and C functionals of one component, t being computed once for all functionals. Writes
// whole vectors, so up to W values more.
template <class real, int E, int C>
inline void pair_products(const Constants<real>& constants, const Rows<real>& x, const int* row,
                          const real* mixture_line, const real* line, real* out) {
    constexpr int W = Lanes<real>::count;
    const int64_t d = constants.d_padded;
    vec<real> sums[E][C] = {};
    const real* values[E];
    for (int e = 0; e < E; ++e) values[e] = x.at + row[e] * x.stride;
    for (int64_t j = 0; j < d; j += W) {
        const vec<real> shift = load(x.shift + j), scale = load(mixture_line + 2 * j),
                        offset = load(mixture_line + 2 * j + W);
        vec<real> t[E];
#pragma GCC unroll 4
        for (int e = 0; e < E; ++e) t[e] = standardised(load(values[e] + j) - shift, scale, offset);
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) {
            const vec<real> first = load(line + c * 2 * d + 2 * j), second = load(line + c * 2 * d + 2 * j + W);
#pragma GCC unroll 4
            for (int e = 0; e < E; ++e) sums[e][c] += t[e] * (second * t[e] + first);
        }
    }
    constexpr int N = (E * C + W - 1) / W * W;
    vec<real> all_sums[N] = {};
#pragma GCC unroll 16
    for (int i = 0; i < E * C; ++i) all_sums[i] = sums[i / C][i % C];
    for (int i = 0; i < N; i += W) store(out + i, lane_sums<real>(all_sums + i));
}

// Contributions of the descriptors of a component's n entries, in double: γ (Σ t (first + second t) − Σ second).
template <class real, int C>
__attribute__((noinline)) void explain_component(const Constants<real>& constants, const Rows<real>& x, int64_t q,
                                                 const int* row, const real* posterior, int n, const real* line,
                                                 const double* second_sums, int64_t count, int64_t first_row,
                                                 double* out) {
    constexpr int E = 4;
    const real* mixture_line = constants.lines + q * constants.d_padded * 2;
    for (int i = 0; i < n; i += E) {
        real found[E * C + Lanes<real>::count];  // written in whole vectors
        if (n - i >= E)
            pair_products<real, E, C>(constants, x, row + i, mixture_line, line, found);
        else
            for (int e = 0; e < n - i; ++e)
                pair_products<real, 1, C>(constants, x, row + i + e, mixture_line, line, found + e * C);
        for (int e = 0; e < smaller(E, n - i); ++e)
            for (int c = 0; c < C; ++c)
                out[(row[i + e] - first_row) * count + c] +=
                    (double)posterior[i + e] * ((double)found[e * C + c] - second_sums[c]);
    }
}

// Contributions of rows [from, to) of the block, which are descriptors from `at` on of a map.
template <class real>
__attribute__((noinline)) void explain(const Constants<real>& constants, const Rows<real>& x, Scratch<real>& s,
                                       int64_t from, int64_t to, const Functionals& f, int64_t map, int64_t at) {
    const int64_t count = f.count, d = constants.d_padded;
    double* out = f.out[map] + at * count;
    memset(out, 0, (to - from) * count * sizeof(double));
    for (int64_t q = 0; q < constants.k; ++q) {
        int n = 0;
        for (int i = s.starts[q]; i < s.starts[q + 1]; ++i)
            if (s.sorted_row[i] >= from && s.sorted_row[i] < to)
                s.some_row[n] = s.sorted_row[i], s.some_value[n++] = s.sorted_value[i];
        const real* line = (const real*)f.lines[map] + q * count * d * 2;
        const double* sums = f.sums[map] + q * count;
        for (int64_t c = 0; c < count;) {
            auto go = [&](auto width) {
                constexpr int C = decltype(width)::n;
                explain_component<real, C>(constants, x, q, s.some_row, s.some_value, n, line + c * d * 2, sums + c,
                                           count, from, out + c);
                c += C;
            };
            const int64_t left = count - c;
            left >= 4 ? go(Width<4>()) : left >= 2 ? go(Width<2>()) : go(Width<1>());
        }
    }
}

}  // namespace
}  // namespace ildfv
