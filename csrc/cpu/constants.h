// A mixture, laid out for the kernel.
#pragma once

#include <math.h>

#include "common/mixture.h"
#include "scratch.h"

namespace ildfv {
namespace {

template <class real>
struct Constants {
    static constexpr int W = Lanes<real>::count;
    int64_t k, d, k_padded, d_padded;
    int64_t few;     // dimensions that make the bound
    real* centre;    // (d_padded,)
    real *a, *b;     // (k, d_padded): lanes = dimensions
    int* order;      // (d,): dimensions, the most telling first
    real* pairs;     // (k_padded / W, d, 2, W): a and b in that order, lanes = components
    real* c;         // (k_padded,), less the largest; −∞ for the padding
    real* slack;     // (k_padded,): see `choose`
    real* guess;     // (k_padded,): added to a bound, the log likelihood of the few dimensions alone
    double* exact;   // (k,): c itself
    double* offset;  // (1,): what all scores lack, as it would take digits from them: the largest c and −d/2
    bool close;      // means are within CLOSE sd of the centre
    bool* is_close;
    int64_t bytes;

    Constants(void* memory, int64_t k, int64_t d) : k(k), d(d), k_padded(round_up(k, W)), d_padded(round_up(d, W)) {
        Arena arena{(char*)memory};
        few = d < 16 ? d : round_up(3 * d / 8, 4);  // fastest in bench_moments; a quarter or a half cost little more
        centre = arena.take<real>(d_padded);
        a = arena.take<real>(k * d_padded);
        b = arena.take<real>(k * d_padded);
        order = arena.take<int>(d);
        pairs = arena.take<real>(k_padded * d * 2);
        c = arena.take<real>(k_padded);
        slack = arena.take<real>(k_padded);
        guess = arena.take<real>(k_padded);
        exact = arena.take<double>(k);
        offset = arena.take<double>(1);
        is_close = arena.take<bool>(1);
        bytes = arena.at - (char*)memory;
        close = memory && *is_close;
    }
};

inline double constant(const Mixture& m, int64_t q) {
    double product = 1, exponents = 0;  // one logarithm for all variances
    for (int64_t j = 0; j < m.d; ++j) {
        int exponent;
        product = frexp(product * m.variances[q * m.d + j], &exponent);
        exponents += exponent;
    }
    return constant_of(m.weights[q], log(product) + exponents * log(2.0), m.d);
}

constexpr double BOUND = 1e-3;  // share of a score that rounding is allowed before a component is given up: see `choose`
constexpr double CLOSE = 4;  // (1 + b²)·ε is what Σ γ y and Σ γ y² lose when they become Σ γ t and Σ γ t²

template <class real>
void prepare(const Mixture& m, const int* order, void* memory) {  // memory is zero
    Constants<real> to(memory, m.k, m.d);
    constexpr int W = Lanes<real>::count;
    double total = 0, largest = -INFINITY, furthest = 0;
    for (int64_t q = 0; q < m.k; ++q) total += m.weights[q];
    for (int64_t j = 0; j < m.d; ++j) {
        double sum = 0;
        for (int64_t q = 0; q < m.k; ++q) sum += m.weights[q] * m.means[q * m.d + j];
        to.centre[j] = (real)(sum / total);
    }
    for (int64_t q = 0; q < m.k; ++q) largest = fmax(largest, to.exact[q] = constant(m, q));
    *to.offset = largest - 0.5 * (double)m.d;
    memcpy(to.order, order, m.d * sizeof(int));
    for (int64_t q = 0; q < to.k_padded; ++q) {
        to.c[q] = q < m.k ? (real)(to.exact[q] - largest) : -(real)INFINITY;
        to.slack[q] = -(real)INFINITY;
        if (q >= m.k) continue;
        double squares = 0;
        for (int64_t j = 0; j < m.d; ++j) {
            const double mean = m.means[q * m.d + j], variance = m.variances[q * m.d + j];
            const double b = shift_of(mean, to.centre[j], variance);
            to.a[q * to.d_padded + j] = (real)scale_of(variance);
            to.b[q * to.d_padded + j] = (real)b;
            squares += b * b;
            furthest = fmax(furthest, fabs(b));
        }
        double rest = 1, exponents = 0;  // of the variances of the other dimensions
        for (int64_t i = 0; i < m.d; ++i) {
            real* pair = to.pairs + (q / W * m.d + i) * 2 * W + q % W;
            pair[0] = to.a[q * to.d_padded + to.order[i]];
            pair[W] = to.b[q * to.d_padded + to.order[i]];
            if (i < to.few) continue;
            int exponent;
            rest = frexp(rest * m.variances[q * m.d + to.order[i]], &exponent);
            exponents += exponent;
        }
        to.guess[q] = (real)(0.5 * (log(rest) + exponents * log(2.0)));
        to.slack[q] = (real)(BOUND * (to.c[q] + 0.5 * (double)to.few) + 1e-10 * squares + 0.5 * (double)(m.d - to.few));
    }
    *to.is_close = furthest <= CLOSE;
}

}  // namespace
}  // namespace ildfv
