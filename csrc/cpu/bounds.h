// Upper bounds of scores from the few dimensions, the most discriminative ones; the others can only lower a score.
#pragma once

#include "constants.h"
#include "indices.h"

namespace ildfv {
namespace {

// Returns how far below the best score of a row a score must be, so that the posterior is below the threshold, and k
// such components together change a sum by less than rounding errors. Infinity if the threshold is practically 0.
template <class real>
inline real depth(double threshold, int64_t k) {
    if (threshold <= 1e-30) return (real)INFINITY;
    const double alone = sizeof(real) == 4 ? 17 : 40;
    return (real)fmax(fmax(alone, alone - 4.5 + log((double)k)), 0.01 - log(threshold));
}

// The likelihood of a component that does not exist.
template <class real>
constexpr real LOWEST = -(real)1267650600228229401496703205376.0;  // −2^100; setting its last bits only lowers it

// Log likelihoods in the few dimensions of R rows and N vectors of components ("likelihoods" below): few_c − ½ Σ t², or
// a linear function of the rows, if all have the same α y² (constants.h). With c instead of few_c, they would be upper
// bounds of the scores.
template <class real, bool LINEAR, int R, int N>
inline void bound_tile(const Constants<real>& constants, const real* rows, int64_t stride, int64_t vector,
                       const char* ahead, real* likelihoods) {
    constexpr int W = Lanes<real>::count, F = LINEAR ? 1 : 2;
    const int64_t few = constants.few;
    const real* factors = constants.few_pairs + vector * few * F * W;
    vec<real> likelihood[R][N];
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v)
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) likelihood[r][v] = load(constants.few_c + (vector + v) * W);
    for (int64_t i = 0; i < few; ++i, factors += F * W, ahead += 128) {
        __builtin_prefetch(ahead, 0, 2);  // two cache lines per step, because many prefetches at once would stall
        __builtin_prefetch(ahead + 64, 0, 2);
        vec<real> a[N], b[N];
#pragma GCC unroll 4
        for (int v = 0; v < N; ++v) {
            a[v] = load(factors + v * few * F * W);
            if constexpr (!LINEAR) b[v] = load(factors + v * few * F * W + W);
        }
        const real* x = rows + constants.order[i];
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int v = 0; v < N; ++v) {
                if constexpr (LINEAR) {
                    likelihood[r][v] += all(x[r * stride]) * a[v];
                } else {
                    const vec<real> t = all(x[r * stride]) * a[v] + b[v];  // scaled by √½
                    likelihood[r][v] -= t * t;
                }
            }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < N; ++v) store(likelihoods + (v * PANEL + r) * W, likelihood[r][v]);
}

// Likelihoods of a panel, (k_padded / W, PANEL, W). Also prefetches PANEL rows from `s.ahead` on.
template <class real, bool LINEAR>
__attribute__((noinline)) void bound_panel(const Constants<real>& constants, const real* rows, int64_t stride,
                                           Scratch<real>& s) {
    // Six rows use 12 accumulators. With four rows, additions would wait for earlier additions.
    constexpr int W = Lanes<real>::count, R = ILDFV_VECTOR_BYTES == 64 ? 8 : 4, MORE = R == 4 && LINEAR ? 6 : R;
    const int64_t vectors = constants.k_padded / W;
    for (int64_t v = 0; v < vectors; v += 2)
        for (int r = 0; r < PANEL;) {
            real* to = s.likelihoods + (v * PANEL + r) * W;
            const real* from = rows + r * stride;
            const char* ahead = v == 0 && s.ahead ? s.ahead + r * s.ahead_bytes : (const char*)from;
            auto tile = [&](auto height) {
                constexpr int H = decltype(height)::n;
                if (v + 1 < vectors)
                    bound_tile<real, LINEAR, H, 2>(constants, from, stride, v, ahead, to);
                else
                    bound_tile<real, LINEAR, H, 1>(constants, from, stride, v, ahead, to);
                r += H;
            };
            PANEL - r > 2 * R ? tile(Width<MORE>()) : tile(Width<R>());
        }
    if (s.ahead) s.ahead += PANEL * s.ahead_bytes;
}

// A pair is encoded as component · PANEL + row of the panel.
inline int row_of(int pair) { return pair & (PANEL - 1); }
inline int component_of(int pair) { return (int)((unsigned)pair / PANEL); }

// The two likeliest components of W rows from `row` on. The selection is approximate: the last bits of a likelihood are
// replaced by the number of its component, and the two components are never in the same lane. If there is no second
// component, the first is repeated. The likelihoods of both are set to −∞, because these pairs need no bound.
template <class real>
inline void guess(const Constants<real>& constants, real* likelihoods, int row, int* best, int* second) {
    constexpr int W = Lanes<real>::count;
    typedef typename Lanes<real>::integers integers;
    const integers mask = integers{} + constants.number_mask;
    vec<real> highest[W], folded[W];
    real top[W];
    for (int r = 0; r < W; ++r) {
        vec<real> value = all(LOWEST<real>);
        integers number = Lanes<real>::iota();
        for (int64_t v = 0; v < constants.k_padded; v += W, number += W) {
            const integers likelihood = (integers)load(likelihoods + v * PANEL + (row + r) * W);
            value = larger((vec<real>)((likelihood & ~mask) | number), value);  // this order of arguments discards NaN
        }
        highest[r] = folded[r] = value;
    }
    const vec<real> first = lane_tops<real>(folded);
    store(top, first);
    for (int r = 0; r < W; ++r) folded[r] = highest[r] < all(top[r]) ? highest[r] : all(LOWEST<real>);
    const vec<real> next = lane_tops<real>(folded);
    const integers one = (integers)first & mask, two = next > all(LOWEST<real>) ? (integers)next & mask : one;
    const integers rows = Lanes<real>::iota() + row;
    int places[2 * W];  // indices of the two components in `likelihoods`
    write_numbers(places, one / W * W * PANEL + rows * W + one % W);
    write_numbers(places + W, two / W * W * PANEL + rows * W + two % W);
    for (const int place : places) likelihoods[place] = -(real)INFINITY;
    write_numbers(best, one * PANEL + rows);
    write_numbers(second, two * PANEL + rows);
}

}  // namespace
}  // namespace ildfv
