// A mixture, packed for the kernel.
#pragma once

#include <math.h>
#include <string.h>

#include <initializer_list>

#include "choice.h"
#include "common/mixture.h"
#include "scratch.h"

namespace ildfv {
namespace {

constexpr double BOUND = 1e-3;  // relative error of a score that bounds in t² allow for

template <class real>
struct Constants {
    static constexpr int W = Lanes<real>::count;
    int64_t k, d, k_padded, d_padded;
    int64_t few;      // number of dimensions used for bounds
    bool linear;      // whether bounds are linear in the descriptor (bounds.h)
    int64_t room;     // values per component in few_pairs
    Choice* used;     // (1,): stored with the constants
    int number_mask;  // bits that encode a component's number
    real* centre;     // (d_padded,)
    real* base;       // (d_padded,): zero or the centre; subtracted from rows when they are copied
    real* rest;       // (d_padded,): centre − base
    real* none;       // (d_padded,): zeros
    real* lines;      // (k, d_padded / W, 2, W): a and b, lanes = dimensions
    // (k_padded / W, d, 2, W): a and b, lanes = components, for centred rows, or for rows in memory if `near`
    real* pairs;
    int* order;  // (few,): the most discriminative dimensions
    // (k_padded / W, few, 2, W): √½ a and √½ b of these dimensions, for rows minus the base.
    // If bounds are linear: (k_padded / W, few, W), the slopes.
    real* few_pairs;
    // (d_padded,): if bounds are linear, √½ times the smallest a of all components; 0 in the other dimensions
    real* common;
    real* c;  // (k_padded,): c minus the largest c; −∞ for the padding
    // (k_padded,): few_c − ½ Σ t² is the log likelihood in the few dimensions, up to a constant; −∞ for the padding
    real* few_c;
    real* slack;     // (k_padded,): see candidates.h
    double* exact;   // (k,): c itself
    double* least;   // (d,): the smallest 1/variance of all components
    double* offset;  // (1,): the largest c − d/2, omitted from all scores to preserve their precision
    bool* close;     // (1,): means are within CLOSE sd of the centre, and 1/sd between 1/EXTREME and EXTREME
    bool* raw;       // (1,): the base is zero, so that bounds are computed from rows in memory
    bool* near;      // (1,): all scores are computed from rows in memory as well
    int64_t bytes;

    Constants(void* memory, int64_t k, int64_t d) : k(k), d(d), k_padded(round_up(k, W)), d_padded(round_up(d, W)) {
        Arena arena{(char*)memory};
        room = 0;
        for (const Choice& choice : Choices(d)) room = choice.values() > room ? choice.values() : room;
        used = arena.take<Choice>(1);
        few = memory ? used->few : d;  // `prepare` sets *used
        linear = memory && used->factors == 1;
        number_mask = 1;
        while (number_mask < k_padded - 1) number_mask = 2 * number_mask + 1;
        centre = arena.take<real>(d_padded);
        base = arena.take<real>(d_padded);
        rest = arena.take<real>(d_padded);
        none = arena.take<real>(d_padded);
        lines = arena.take<real>(k * d_padded * 2);
        pairs = arena.take<real>(k_padded * d * 2);
        order = arena.take<int>(d);
        few_pairs = arena.take<real>(k_padded * room);
        common = arena.take<real>(d_padded);
        c = arena.take<real>(k_padded < 32 ? 32 : k_padded);  // `gather` reads at least 32 values
        few_c = arena.take<real>(k_padded);
        slack = arena.take<real>(k_padded);
        exact = arena.take<double>(k);
        least = arena.take<double>(d);
        offset = arena.take<double>(1);
        close = arena.take<bool>(1);
        raw = arena.take<bool>(1);
        near = arena.take<bool>(1);
        bytes = arena.at - (char*)memory;
    }

    void use(Choice choice) {
        *used = choice;
        few = choice.few;
        linear = choice.factors == 1;
    }

    // The part of the bounds that is left when they are reduced by their relative error.
    real kept() const { return linear ? (real)1 : (real)(1 - BOUND); }

    // The padding must be zero.
    void clear() {
        for (real* p : {centre, base, rest, none, common}) memset(p, 0, d_padded * sizeof(real));
        memset(lines, 0, k * d_padded * 2 * sizeof(real));
        if (k == k_padded) return;
        memset(pairs, 0, k_padded * d * 2 * sizeof(real));
        memset(few_pairs, 0, k_padded * room * sizeof(real));
    }
};

constexpr double CLOSE = 4;       // sd; converting Σ γ y, Σ γ y² to Σ γ t, Σ γ t² has a relative error of (1 + b²)·ε
constexpr double EXTREME = 1e12;  // 1/sd: with a larger one, squares of descriptors overflow float
constexpr double NEAR = 4;        // sd from 0; without centring the rows, t has an error of at most NEAR · 6·10⁻⁸
constexpr double RAW = 1e10;      // largest Σ b² for which the base may be zero; the bounds are then one nat higher

// Σ log variance of a component over the listed dimensions, with few logarithms.
inline double sum_log_variances(const double* variances, const int* order, int64_t n) {
    double product = 1, sum = 0;
    for (int64_t i = 0; i < n; ++i) {
        product *= variances[order[i]];
        if (product > 1e-100 && product < 1e100 && i + 1 < n) continue;
        if (product < 1e-300 || product > 1e300) {  // one factor is extreme: use one logarithm per dimension
            sum = 0;
            for (int64_t j = 0; j < n; ++j) sum += log(variances[order[j]]);
            return sum;
        }
        sum += log(product);
        product = 1;
    }
    return sum;
}

struct Bound {
    double constant, rounding;  // part of few_c, and allowance for rounding errors
};

// Packs √½ a and √½ b: Σ of their t² is ½ Σ t².
template <class real>
Bound quadratic_bound(const Mixture& m, const View& view, Constants<real>& to, int64_t q) {
    constexpr int W = Lanes<real>::count;
    double squares = 0;
    for (int64_t i = 0; i < to.few; ++i) {
        const int64_t j = view.order[i];
        const double scale = view.scales[q * m.d + j], b = (to.base[j] - m.means[q * m.d + j]) * scale;
        real* pair = to.few_pairs + (q / W * to.few + i) * 2 * W + q % W;
        pair[0] = (real)(sqrt(0.5) * scale);
        pair[W] = (real)(sqrt(0.5) * b);
        squares += b * b;
    }
    return {0, 1e-10 * squares};
}

// Packs slopes. With y = x − base, μ = mean − base and the smallest a² of all components, α,
//
//   t² = a² (y − μ)² = α y² + (a² − α) y² − 2 a² μ y + a² μ²,
//
// where (a² − α) y² is at least its tangent at any point, (a² − α) (2 z y − z²). The centre is used as z. α y² is the
// same for all components. |y · slope| is at most ½ α y² + ½ slope²/α.
template <class real>
Bound linear_bound(const Mixture& m, const View& view, Constants<real>& to, int64_t q) {
    constexpr int W = Lanes<real>::count;
    double constant = 0, rounding = 0;
    for (int64_t i = 0; i < to.few; ++i) {
        const int64_t j = view.order[i];
        const double scale = view.scales[q * m.d + j] * view.scales[q * m.d + j], excess = scale - to.least[j];
        const double mean = m.means[q * m.d + j] - to.base[j], z = to.rest[j], slope = scale * mean - excess * z;
        to.few_pairs[(q / W * to.few + i) * W + q % W] = (real)slope;
        constant += 0.5 * (excess * z * z - scale * mean * mean);
        rounding += 0.5 * slope * slope / to.least[j];
    }
    return {constant, 1e-4 * rounding};
}

template <class real>
void prepare(const Mixture& m, const View& view, void* memory) {
    Constants<real> to(memory, m.k, m.d);
    to.clear();
    constexpr int W = Lanes<real>::count;
    const int64_t d = m.d;
    const int* order = view.order;
    double largest = -INFINITY, most = 0;
    for (int64_t j = 0; j < d; ++j) to.centre[j] = (real)view.centre[j];
    *to.near = view.from_0 <= NEAR;
    for (int64_t j = 0; j < d; ++j) to.least[j] = INFINITY;
    for (int64_t q = 0; q < m.k; ++q) {
        const double* scales = view.scales + q * d;
        to.exact[q] = constant_of(m.weights[q], sum_log_variances(m.variances + q * d, order, d), d);
        largest = fmax(largest, to.exact[q]);
        for (int64_t j = 0; j < d; ++j) to.least[j] = fmin(to.least[j], scales[j] * scales[j]);
    }
    const bool moderate = view.least > 1 / EXTREME && view.most < EXTREME;
    to.use(Choosing{m, view, to.exact, to.least}.best(moderate && view.furthest <= FURTHEST));
    memcpy(to.order, order, to.few * sizeof(int));
    for (int64_t q = 0; q < m.k; ++q) {
        const double *means = m.means + q * d, *scales = view.scales + q * d;
        for (int64_t j = 0; j < d; ++j) {
            const double b = (to.centre[j] - means[j]) * scales[j];
            real* line = to.lines + (q * to.d_padded + j / W * W) * 2 + j % W;
            real* pair = to.pairs + (q / W * d + j) * 2 * W + q % W;
            line[0] = pair[0] = (real)scales[j];
            line[W] = (real)b;
            pair[W] = (real)(*to.near ? -means[j] * scales[j] : b);
        }
        double squares = 0;
        for (int64_t i = 0; i < to.few; ++i)
            squares += means[order[i]] * scales[order[i]] * means[order[i]] * scales[order[i]];
        most = fmax(most, squares);
    }
    *to.offset = largest - 0.5 * (double)d;
    *to.close = view.furthest <= CLOSE && moderate;
    *to.raw = to.linear ? *to.near : most <= RAW;
    memcpy(*to.raw ? to.rest : to.base, to.centre, d * sizeof(real));
    if (to.linear)
        for (int64_t i = 0; i < to.few; ++i) to.common[order[i]] = (real)sqrt(0.5 * to.least[order[i]]);
    for (int64_t q = 0; q < to.k_padded; ++q) {
        to.c[q] = to.few_c[q] = to.slack[q] = -(real)INFINITY;
        if (q >= m.k) continue;
        to.c[q] = (real)(to.exact[q] - largest);
        const double others = 0.5 * sum_log_variances(m.variances + q * d, order + to.few, d - to.few);
        const Bound bound = to.linear ? linear_bound(m, view, to, q) : quadratic_bound(m, view, to, q);
        const double few_c = to.exact[q] - largest + others + 0.5 * (double)to.few + bound.constant;
        to.few_c[q] = (real)few_c;
        // Each of up to LONGEST additions to few_c has an error of at most 2⁻²⁴ · |few_c|.
        to.slack[q] = (real)((1 - to.kept()) * few_c + 1e-4 * fabs(few_c) + bound.rounding +
                             0.5 * (double)(d - to.few) - others + 1e-6 * fabs(others));
    }
}

}  // namespace
}  // namespace ildfv
