// The log likelihood of rows, and whether the precision of `real` suffices for it.
#pragma once

#include "scratch.h"

namespace ildfv {
namespace {

// Σ log likelihood of rows [from, to): top + log Σ e^(score − top), one logarithm for many rows.
template <class real>
double log_likelihood(const Scratch<real>& s, int64_t from, int64_t to, double offset) {
    constexpr int U = 8;  // independent products, because each multiplication depends on the previous one
    double tops[U] = {}, products[U] = {1, 1, 1, 1, 1, 1, 1, 1}, total = (double)(to - from) * offset, product = 1;
    int64_t i = from;
    for (; i + U <= to; i += U) {
        double largest = 0;
        for (int u = 0; u < U; ++u) {
            tops[u] += s.top[i + u];
            products[u] *= s.sum[i + u];
            largest = products[u] > largest ? products[u] : largest;
        }
        if (largest > 1e150)
            for (double& p : products) total += log(p), p = 1;
    }
    for (; i < to; ++i) tops[0] += s.top[i], products[0] *= s.sum[i];
    for (int u = 0; u < U; ++u) {
        total += tops[u];
        product *= products[u];
        if (product > 1e100) total += log(product), product = 1;
    }
    return total + log(product);
}

// Σ weight · log likelihood of rows [from, to).
template <class real>
double weighted_log_likelihood(const Scratch<real>& s, int64_t from, int64_t to, double offset) {
    double total = 0;
    for (int64_t i = from; i < to; ++i) total += (double)s.weight[i] * (offset + s.top[i] + log((double)s.sum[i]));
    return total;
}

// Whether float is precise enough for the posteriors of rows [from, to). Scores beyond ±1000 have rounding errors of
// 10⁻⁴ and more, which changes posteriors if two components have similar scores. Beyond ±100 000, the rounding errors
// are so large that a second component may seem irrelevant. Returns false for NaN.
template <class real>
bool precise(const Scratch<real>& s, int64_t from, int64_t to) {
    if (sizeof(real) == 8) return true;
    bool all = true;
    for (int64_t i = from; i < to; ++i) {
        const real size = s.top[i] < 0 ? -s.top[i] : s.top[i];
        all &= size <= 1000 || (size <= 100000 && s.sum[i] <= (real)(1 + 1e-6));
    }
    return all;
}

}  // namespace
}  // namespace ildfv
