// Moments from the entries of each component, lanes = dimensions.
#pragma once

#include "posteriors.h"

namespace ildfv {
namespace {

// Σ γ t and Σ γ t² of N vectors of dimensions over n entries.
template <class real, int N>
__attribute__((noinline)) void accumulate(const int* row, const real* posterior, int n, const Rows<real>& x,
                                          const real* line, vec<real>* s1, vec<real>* s2) {
    constexpr int W = Lanes<real>::count;
    vec<real> shift[N], scale[N], offset[N], first[N] = {}, second[N] = {};
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v)
        shift[v] = load(x.shift + v * W), scale[v] = load(line + 2 * v * W), offset[v] = load(line + (2 * v + 1) * W);
    for (int i = 0; i < n; ++i) {
        const real* values = x.at + row[i] * x.stride;
        const vec<real> gamma = all(posterior[i]);
#pragma GCC unroll 4
        for (int v = 0; v < N; ++v) {
            const vec<real> t = standardised(load(values + v * W) - shift[v], scale[v], offset[v]);
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

// Multiplies the posteriors of the entries by the weights of their rows.
template <class real>
void weight_entries(Scratch<real>& s) {
    for (int64_t i = 0; i < s.entries; ++i) s.sorted_value[i] *= s.weight[s.sorted_row[i]];
}

constexpr int RUN = 256;  // maximum number of consecutive float additions

// Σ γ, in four independent sums, because an addition takes four cycles.
template <class real>
inline double sum_of(const real* posterior, int n) {
    double sums[4] = {};
    int i = 0;
    for (; i + 4 <= n; i += 4)
        for (int lane = 0; lane < 4; ++lane) sums[lane] += posterior[i + lane];
    for (; i < n; ++i) sums[0] += posterior[i];
    return sums[0] + sums[1] + (sums[2] + sums[3]);
}

// Sums of one component over n entries, written to or added to s0, s1, s2.
template <class real, class out>
__attribute__((noinline)) void component(const Constants<real>& constants, const Rows<real>& x, int64_t q,
                                         const int* row, const real* posterior, int n, out* s0, out* s1, out* s2,
                                         bool add) {
    constexpr int W = Lanes<real>::count, N = ILDFV_VECTOR_BYTES == 64 ? 4 : 2;
    const int64_t d = constants.d;
    const real* line = constants.lines + q * constants.d_padded * 2;
    const double sum = sum_of(posterior, n);
    s0[q] = (out)(add ? s0[q] + sum : sum);
    for (int from = 0; from < n; from += RUN, add = true)
        for (int64_t j = 0; j < d; j += N * W) {
            vec<real> first[N], second[N];
            auto go = [&](auto width) {
                accumulate<real, decltype(width)::n>(row + from, posterior + from, (int)smaller(RUN, n - from),
                                                     {x.at + j, x.stride, x.shift + j}, line + 2 * j, first, second);
            };
            const int64_t left = (d - j + W - 1) / W;
            if constexpr (N == 4)
                left >= 4 ? go(Width<4>()) : left == 3 ? go(Width<3>()) : left == 2 ? go(Width<2>()) : go(Width<1>());
            else
                left >= 2 ? go(Width<2>()) : go(Width<1>());
            put<real>(first, smaller(d - j, N * W), s1 + q * d + j, add);
            put<real>(second, smaller(d - j, N * W), s2 + q * d + j, add);
        }
}

// Sums of the entries of rows [from, to) of the block. They are added to the sums of components that are `touched`
// (Partial), and replace the sums of the other components. If `touched` is null, they replace all sums.
template <class real, class out>
__attribute__((noinline)) void sparse_moments(const Constants<real>& constants, const Rows<real>& x, Scratch<real>& s,
                                              int64_t from, int64_t to, int64_t rows, out* s0, out* s1, out* s2,
                                              unsigned char* touched) {
    const int64_t d = constants.d;
    for (int64_t q = 0; q < constants.k; ++q) {
        const int* row = s.sorted_row + s.starts[q];
        const real* posterior = s.sorted_value + s.starts[q];
        int n = s.ends[q] - s.starts[q];
        if (from > 0 || to < rows) {  // the block has other segments
            const int listed = n;
            n = 0;
            for (int i = 0; i < listed; ++i)
                if (row[i] >= from && row[i] < to) s.some_row[n] = row[i], s.some_value[n++] = posterior[i];
            row = s.some_row;
            posterior = s.some_value;
        }
        if (n == 0) {
            if (!touched) clear_component(s0, s1, s2, q, d);
            continue;
        }
        component(constants, x, q, row, posterior, n, s0, s1, s2, touched && touched[q]);
        if (touched) touched[q] = 1;
    }
}

}  // namespace
}  // namespace ildfv
