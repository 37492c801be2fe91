// Contributions of descriptors to linear functionals of their map's moments: from the entries of each component or, in
// crowded shares, row by row.
#pragma once

#include "dense.h"
#include "sparse.h"

namespace ildfv {
namespace {

template <class real>
int64_t lines_bytes(int64_t k, int64_t d, int64_t count) {
    return k * count * round_up(d, Lanes<real>::count) * 2 * (int64_t)sizeof(real);
}

// first, second (count, k, d) as lines (k, count, d_padded / W, 2, W), and the sums of `second` over d, (k, count).
template <class real>
void lay_out_functionals(const double* first, const double* second, int64_t k, int64_t d, int64_t count, void* lines,
                         double* sums) {
    constexpr int W = Lanes<real>::count;
    const int64_t padded = round_up(d, W), whole = d / W * W;
    real* line = (real*)lines;
    for (int64_t q = 0; q < k; ++q)
        for (int64_t c = 0; c < count; ++c) {
            const double *one = first + (c * k + q) * d, *two = second + (c * k + q) * d;
            double part[W] = {};  // one sum per lane, because additions to a single sum would wait for each other
            for (int64_t j = 0; j < whole; j += W, line += 2 * W)
                for (int i = 0; i < W; ++i) {
                    line[i] = (real)one[j + i];
                    line[W + i] = (real)two[j + i];
                    part[i] += two[j + i];
                }
            if (whole < padded) {
                memset(line, 0, 2 * W * sizeof(real));
                for (int64_t i = 0; i < d - whole; ++i) {
                    line[i] = (real)one[whole + i];
                    line[W + i] = (real)two[whole + i];
                    part[i] += two[whole + i];
                }
                line += 2 * W;
            }
            double sum = 0;
            for (int i = 0; i < W; ++i) sum += part[i];
            sums[q * count + c] = sum;
        }
}

// Σ t (first + second t) of E entries and C functionals of one component; t is computed once for all functionals.
// Writes whole vectors, up to W values beyond the result.
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

// Contributions of rows [from, to) of the block, which are the descriptors of a map from `at` on.
template <class real>
__attribute__((noinline)) void explain(const Constants<real>& constants, const Rows<real>& x, Scratch<real>& s,
                                       int64_t from, int64_t to, const Functionals& f, int64_t map, int64_t at) {
    const int64_t count = f.count, d = constants.d_padded;
    double* out = f.out[map] + at * count;
    memset(out, 0, (to - from) * count * sizeof(double));
    for (int64_t q = 0; q < constants.k; ++q) {
        int n = 0;
        for (int i = s.starts[q]; i < s.ends[q]; ++i)
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

// Contributions to C functionals of R rows of the block, from `row` on, computed from the posteriors of all components.
// Lanes are added once for all components: with few dimensions, this takes as long as the products.
template <class real, int R, int C>
inline void explain_row(const Constants<real>& constants, const Rows<real>& x, const Scratch<real>& s, int64_t row,
                        const real* line, const double* second_sums, int64_t count, double* out) {
    constexpr int W = Lanes<real>::count;
    const int64_t d = constants.d_padded;
    vec<real> sums[R][C] = {};
    double low[R][C] = {};  // Σ γ Σ second
    const real* values[R];
    for (int r = 0; r < R; ++r) values[r] = x.at + (row + r) * x.stride;
    for (int64_t q = 0; q < constants.k; ++q) {
        const real* at = s.scores + (q / W * s.capacity + row) * W + q % W;
        real gamma[R];
        bool any = false;
        for (int r = 0; r < R; ++r) gamma[r] = at[r * W], any |= gamma[r] > 0;
        if (!any) continue;
        const real *mixture_line = constants.lines + q * d * 2, *functional = line + q * count * d * 2;
        for (int64_t j = 0; j < d; j += W) {
            const vec<real> shift = load(x.shift + j), scale = load(mixture_line + 2 * j),
                            offset = load(mixture_line + 2 * j + W);
            vec<real> t[R], weighted[R];
#pragma GCC unroll 4
            for (int r = 0; r < R; ++r) {
                t[r] = standardised(load(values[r] + j) - shift, scale, offset);
                weighted[r] = all(gamma[r]) * t[r];
            }
#pragma GCC unroll 4
            for (int c = 0; c < C; ++c) {
                const vec<real> first = load(functional + c * 2 * d + 2 * j),
                                second = load(functional + c * 2 * d + 2 * j + W);
#pragma GCC unroll 4
                for (int r = 0; r < R; ++r) sums[r][c] += weighted[r] * (second * t[r] + first);
            }
        }
        for (int r = 0; r < R; ++r)
            for (int c = 0; c < C; ++c) low[r][c] += (double)gamma[r] * second_sums[q * count + c];
    }
    constexpr int N = (R * C + W - 1) / W * W;
    vec<real> all_sums[N] = {};
    real found[N];
#pragma GCC unroll 16
    for (int i = 0; i < R * C; ++i) all_sums[i] = sums[i / C][i % C];
    for (int i = 0; i < N; i += W) store(found + i, lane_sums<real>(all_sums + i));
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c) out[r * count + c] = (double)found[r * C + c] - low[r][c];
}

// Like `explain`, from the posteriors of all components.
template <class real>
__attribute__((noinline)) void explain_rows(const Constants<real>& constants, const Rows<real>& x,
                                            const Scratch<real>& s, int64_t from, int64_t to, const Functionals& f,
                                            int64_t map, int64_t at) {
    constexpr int R = ILDFV_VECTOR_BYTES == 64 ? 4 : 2;  // 4·R sums must stay in registers
    const int64_t count = f.count, d = constants.d_padded;
    double* out = f.out[map] + at * count;
    for (int64_t c = 0; c < count;) {
        auto go = [&](auto width) {
            constexpr int C = decltype(width)::n;
            const real* line = (const real*)f.lines[map] + c * d * 2;
            const double* sums = f.sums[map] + c;
            int64_t row = from;
            for (; row + R <= to; row += R)
                explain_row<real, R, C>(constants, x, s, row, line, sums, count, out + (row - from) * count + c);
            for (; row < to; ++row)
                explain_row<real, 1, C>(constants, x, s, row, line, sums, count, out + (row - from) * count + c);
            c += C;
        };
        const int64_t left = count - c;
        left >= 4 ? go(Width<4>()) : left >= 2 ? go(Width<2>()) : go(Width<1>());
    }
}

}  // namespace
}  // namespace ildfv
