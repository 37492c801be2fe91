// Fisher vectors from moments: scaling, normalisation and order of the values, one map at a time, so that it stays in
// the cache.
#include "fisher.h"

#include <math.h>
#include <string.h>

#include <vector>

#include "exact.h"

namespace ildfv {
namespace {

// Σ |x|. The order of additions is fixed, so that the bits do not depend on the processor.
template <class real>
ILDFV_INLINED double sum_of_sizes(const real* x, int64_t n) {
    constexpr int64_t LANES = 16, CHAIN = 32;  // independent sums, and consecutive float additions of each
    double total = 0;
    for (int64_t from = 0; from < n; from += LANES * CHAIN) {
        const int64_t to = from + LANES * CHAIN < n ? from + LANES * CHAIN : n, whole = from + (to - from) / LANES * LANES;
        real sums[LANES] = {};
        for (int64_t i = from; i < whole; i += LANES)
            for (int64_t lane = 0; lane < LANES; ++lane) sums[lane] += std::fabs(x[i + lane]);
        for (int64_t i = whole; i < to; ++i) sums[i - whole] += std::fabs(x[i]);
        for (const real sum : sums) total += (double)sum;
    }
    return total;
}

template <class real>
ILDFV_INLINED void to_roots(real* x, int64_t n) {
    for (int64_t i = 0; i < n; ++i) x[i] = std::copysign(std::sqrt(std::fabs(x[i])), x[i]);
}

// u = s1 · first and v = (s2 − s0) · first/√2 of each component, with first = 1/(n √w).
template <class real>
ILDFV_INLINED void fisher_vector(real* row, const real* moments, const real* s0, double count, const double* roots,
                                 const double* weights, const FisherLayout& to) {
    const int64_t k = to.k, d = to.d, part = to.weight_part ? 1 : 0, length = k * (2 * d + part);
    const double n = count > 0 ? count : 1;  // the sums are 0 if all weights of a map are 0
    for (int64_t q = 0; q < k; ++q) {
        const real first = (real)(roots[q] / n), second = first / (real)1.4142135623730951, mass = s0[q];
        real* u = row + (to.by_component ? q * (2 * d + part) + part : k * part + q * d);
        real* v = u + (to.by_component ? d : k * d);
        const real *s1 = moments + q * d, *s2 = s1 + k * d;
        if (to.weight_part) row[to.by_component ? u - row - 1 : q] = (mass - (real)(count * weights[q])) * first;
        for (int64_t j = 0; j < d; ++j) u[j] = s1[j] * first;
        for (int64_t j = 0; j < d; ++j) v[j] = (s2[j] - mass) * second;
    }
    if (!to.improved) return;
    const double norm = std::sqrt(sum_of_sizes(row, length));  // of the roots
    const real scale = (real)(1 / std::fmax(norm, to.least_norm));
    to_roots(row, length);
    for (int64_t i = 0; i < length; ++i) row[i] *= scale;
}

// Two functions instead of a template: only these can have versions for several processors.
ILDFV_ALSO_AVX2 void fisher_row(float* row, const float* moments, const float* s0, double count, const double* roots,
                                const double* weights, const FisherLayout& to) {
    fisher_vector(row, moments, s0, count, roots, weights, to);
}
ILDFV_ALSO_AVX2 void fisher_row(double* row, const double* moments, const double* s0, double count,
                                const double* roots, const double* weights, const FisherLayout& to) {
    fisher_vector(row, moments, s0, count, roots, weights, to);
}

}  // namespace

template <class real>
void fisher_vectors(real* rows, const real* s0, const double* counts, const double* roots, const double* weights,
                    int64_t b, const FisherLayout& to, int threads) {
    const int64_t used = 2 * to.k * to.d, length = used + (to.weight_part ? to.k : 0);
    const int workers = (int)(threads < b ? threads : b);
    std::vector<real> moments(used * (workers > 0 ? workers : 1));
#pragma omp parallel for num_threads(workers) schedule(static)
    for (int worker = 0; worker < workers; ++worker) {
        real* own = moments.data() + used * worker;
        for (int64_t map = b * worker / workers; map < b * (worker + 1) / workers; ++map) {
            memcpy(own, rows + map * length, used * sizeof(real));
            fisher_row(rows + map * length, own, s0 + map * to.k, counts[map], roots, weights, to);
        }
    }
}

template void fisher_vectors(float*, const float*, const double*, const double*, const double*, int64_t,
                             const FisherLayout&, int);
template void fisher_vectors(double*, const double*, const double*, const double*, const double*, int64_t,
                             const FisherLayout&, int);

}  // namespace ildfv
