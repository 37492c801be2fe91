// A mixture, packed for the kernel.
#pragma once

#include <math.h>
#include <string.h>

#include <initializer_list>

#include "common/mixture.h"
#include "scratch.h"

namespace ildfv {
namespace {

template <class real>
struct Constants {
    static constexpr int W = Lanes<real>::count;
    int64_t k, d, k_padded, d_padded;
    int64_t few;  // number of dimensions used for bounds: `fewest`, or `most` if `fewest` exclude too few pairs
    int64_t fewest, most;
    int64_t* used;    // (1,): `few`, stored with the constants
    int number_mask;  // bits that encode a component's number
    real* centre;     // (d_padded,)
    real* base;       // (d_padded,): zero or the centre; subtracted from rows when they are copied
    real* rest;       // (d_padded,): centre − base
    real* none;       // (d_padded,): zeros
    real* lines;      // (k, d_padded / W, 2, W): a and b, lanes = dimensions
    // (k_padded / W, d, 2, W): a and b, lanes = components, for centred rows, or for rows in memory if `near`
    real* pairs;
    int* order;       // (most,): the most discriminative dimensions
    real* few_pairs;  // (k_padded / W, few, 2, W): √½ a and √½ b of these dimensions, for rows minus the base
    real* c;          // (k_padded,): c minus the largest c; −∞ for the padding
    // (k_padded,): few_c − ½ Σ t² is the log likelihood in the few dimensions, up to a constant; −∞ for the padding
    real* few_c;
    real* slack;     // (k_padded,): see candidates.h
    double* exact;   // (k,): c itself
    double* offset;  // (1,): the largest c − d/2, omitted from all scores to preserve their precision
    bool* close;     // (1,): means are within CLOSE sd of the centre, and 1/sd between 1/EXTREME and EXTREME
    bool* raw;       // (1,): the base is zero, so that bounds are computed from rows in memory
    bool* near;      // (1,): all scores are computed from rows in memory as well
    int64_t bytes;

    Constants(void* memory, int64_t k, int64_t d) : k(k), d(d), k_padded(round_up(k, W)), d_padded(round_up(d, W)) {
        Arena arena{(char*)memory};
        // 5/16 of the dimensions: 1/4 and 3/8 are up to 5 % slower
        fewest = d < 16 ? d : smaller(round_up(5 * d / 16, 4), 1024);
        // With fewer than 96 dimensions, 9/16 exclude too few components of mixtures for which 5/16 do not suffice.
        most = d < 96 ? fewest : smaller(round_up(9 * d / 16, 4), 1024);
        used = arena.take<int64_t>(1);
        few = memory ? *used : most;  // `prepare` sets *used
        number_mask = 1;
        while (number_mask < k_padded - 1) number_mask = 2 * number_mask + 1;
        centre = arena.take<real>(d_padded);
        base = arena.take<real>(d_padded);
        rest = arena.take<real>(d_padded);
        none = arena.take<real>(d_padded);
        lines = arena.take<real>(k * d_padded * 2);
        pairs = arena.take<real>(k_padded * d * 2);
        order = arena.take<int>(most);
        few_pairs = arena.take<real>(k_padded * most * 2);
        c = arena.take<real>(k_padded < 32 ? 32 : k_padded);  // `gather` reads at least 32 values
        few_c = arena.take<real>(k_padded);
        slack = arena.take<real>(k_padded);
        exact = arena.take<double>(k);
        offset = arena.take<double>(1);
        close = arena.take<bool>(1);
        raw = arena.take<bool>(1);
        near = arena.take<bool>(1);
        bytes = arena.at - (char*)memory;
    }

    void use(int64_t number) { few = *used = number; }

    // The padding must be zero.
    void clear() {
        for (real* p : {centre, base, rest, none}) memset(p, 0, d_padded * sizeof(real));
        memset(lines, 0, k * d_padded * 2 * sizeof(real));
        if (k == k_padded) return;
        memset(pairs, 0, k_padded * d * 2 * sizeof(real));
        memset(few_pairs, 0, k_padded * most * 2 * sizeof(real));
    }
};

constexpr double BOUND = 1e-3;    // relative error of a score that the bounds allow for
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

constexpr double PASSING = 0.2;  // fraction of passing pairs up to which `fewest` dimensions are used for the bounds

// Expected fraction of the pairs that bounds over the first `few` dimensions do not exclude. It is estimated from some
// pairs of components i, j: for descriptors of i, Σ t² under j is approximately normal. exact: c, (k,).
inline double passing(const Mixture& m, const View& view, const double* exact, int64_t few) {
    constexpr double DEPTH = 17;  // nats below the score of component i, which is −d/2 on average
    const int64_t k = m.k, d = m.d;
    double sum = 0;
    int64_t pairs = 0;
    for (const int64_t step : {(int64_t)1, 1 + k / 4, 1 + k / 2})
        for (int64_t i = 0; i < k; ++i) {
            const int64_t j = (i + step) % k;
            if (i == j) continue;
            double mean = 0, variance = 0;
            for (int64_t at = 0; at < few; ++at) {
                const int64_t one = i * d + view.order[at], other = j * d + view.order[at];
                const double apart = (m.means[one] - m.means[other]) * view.scales[other];
                const double ratio = m.variances[one] * view.scales[other] * view.scales[other];
                mean += ratio + apart * apart;
                variance += 2 * ratio * ratio + 4 * ratio * apart * apart;
            }
            const double limit = (double)d + 2 * DEPTH + 2 * (exact[j] - exact[i]);
            sum += 0.5 * erfc((mean - limit) / sqrt(2 * variance));
            ++pairs;
        }
    return pairs > 0 ? sum / (double)pairs : 0;
}

template <class real>
void prepare(const Mixture& m, const View& view, void* memory) {
    Constants<real> to(memory, m.k, m.d);
    to.use(to.fewest);
    to.clear();
    constexpr int W = Lanes<real>::count;
    const int64_t d = m.d;
    const int* order = view.order;
    double largest = -INFINITY, most = 0;
    for (int64_t j = 0; j < d; ++j) to.centre[j] = (real)view.centre[j];
    *to.near = view.from_0 <= NEAR;
    for (int64_t q = 0; q < m.k; ++q) {
        const double few = sum_log_variances(m.variances + q * d, order, to.few);
        const double others = sum_log_variances(m.variances + q * d, order + to.few, d - to.few);
        to.exact[q] = constant_of(m.weights[q], few + others, d);
        largest = fmax(largest, to.exact[q]);
    }
    if (to.most > to.fewest && passing(m, view, to.exact, to.fewest) > PASSING &&
        passing(m, view, to.exact, to.most) <= PASSING)
        to.use(to.most);
    memcpy(to.order, order, to.few * sizeof(int));
    for (int64_t q = 0; q < m.k; ++q) {
        const double *means = m.means + q * d, *scales = view.scales + q * d;
        // For now, the part of the other dimensions; replaced below.
        to.few_c[q] = (real)(0.5 * sum_log_variances(m.variances + q * d, order + to.few, d - to.few));
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
    *to.close = view.furthest <= CLOSE && view.least > 1 / EXTREME && view.most < EXTREME;
    *to.raw = most <= RAW;
    memcpy(*to.raw ? to.rest : to.base, to.centre, d * sizeof(real));
    for (int64_t q = 0; q < to.k_padded; ++q) {
        to.c[q] = q < m.k ? (real)(to.exact[q] - largest) : -(real)INFINITY;
        to.slack[q] = -(real)INFINITY;
        if (q >= m.k) {
            to.few_c[q] = -(real)INFINITY;
            continue;
        }
        const double others = to.few_c[q];
        const double few_c = to.exact[q] - largest + others + 0.5 * (double)to.few;
        to.few_c[q] = (real)few_c;
        double squares = 0;
        for (int64_t i = 0; i < to.few; ++i) {
            const int64_t j = order[i];
            const double scale = view.scales[q * d + j], b = (to.base[j] - m.means[q * d + j]) * scale;
            real* pair = to.few_pairs + (q / W * to.few + i) * 2 * W + q % W;
            pair[0] = (real)(sqrt(0.5) * scale);
            pair[W] = (real)(sqrt(0.5) * b);
            squares += b * b;
        }
        // Each of up to 1024 subtractions from few_c has an error of at most 2⁻²⁴ · |few_c|.
        to.slack[q] = (real)(BOUND * few_c + 1e-4 * fabs(few_c) + 1e-10 * squares + 0.5 * (double)(d - to.few) -
                             others + 1e-6 * fabs(others));
    }
}

}  // namespace
}  // namespace ildfv
