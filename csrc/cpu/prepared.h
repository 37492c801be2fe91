// A mixture packed for a kernel, cached for further calls with the same mixture.
#pragma once

#include <math.h>
#include <stdlib.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <vector>

#include "backend.h"
#include "common/mixture.h"

namespace ildfv {
namespace {

// Statistics of a mixture, and its dimensions sorted by how well they separate the components.
struct Standardised {
    std::vector<double> centre, scales;  // (d,), (k, d)
    std::vector<int> order;              // (d,): the most discriminative dimensions first
    double furthest = 0, from_0 = 0;     // largest distance of a mean, in sd, from the centre and from 0
    double least = INFINITY, most = 0;   // smallest and largest scale

    explicit Standardised(const Mixture& m) : centre(m.d), scales(m.k * m.d), order(m.d) {
        double total = 0;
        for (int64_t q = 0; q < m.k; ++q) total += m.weights[q];
        for (int64_t q = 0; q < m.k; ++q)
            for (int64_t j = 0; j < m.d; ++j) centre[j] += m.weights[q] / total * m.means[q * m.d + j];
        for (int64_t i = 0; i < m.k * m.d; ++i) {
            scales[i] = scale_of(m.variances[i]);
            least = scales[i] < least ? scales[i] : least;
            most = scales[i] > most ? scales[i] : most;
        }
        std::vector<double> apart(m.d);
        for (int64_t q = 0; q < m.k; ++q) {
            const double *mean = m.means + q * m.d, *scale = scales.data() + q * m.d, *from = centre.data();
            const double weight = m.weights[q];
            double *sum = apart.data(), far = furthest, far_from_0 = from_0;
#pragma omp simd reduction(max : far, far_from_0)
            for (int64_t j = 0; j < m.d; ++j) {
                const double distance = fabs((from[j] - mean[j]) * scale[j]), distance_0 = fabs(mean[j] * scale[j]);
                sum[j] += weight * distance;
                far = far < distance ? distance : far;
                far_from_0 = far_from_0 < distance_0 ? distance_0 : far_from_0;
            }
            furthest = far;
            from_0 = far_from_0;
        }
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](int i, int j) { return apart[i] > apart[j]; });
    }

    View view() const { return {centre.data(), scales.data(), order.data(), furthest, from_0, least, most}; }
};

// 64-byte aligned, uninitialised memory.
struct Memory {
    void* start;
    explicit Memory(int64_t bytes) {
        if (posix_memalign(&start, 64, (size_t)(bytes > 0 ? bytes : 64)) != 0) throw std::bad_alloc();
    }
    Memory(Memory&& other) : start(other.start) { other.start = nullptr; }
    ~Memory() { free(start); }
};

const Kernel* kernel_for(const char* wanted, bool in_double) {
    auto may_be = [&](const char* name) { return !*wanted || strcmp(wanted, name) == 0; };
#if defined(__x86_64__)
    if (may_be("avx512") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        return in_double ? &avx512_double : &avx512_float;
    if (may_be("avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return in_double ? &avx2_double : &avx2_float;
#endif
    if (may_be("baseline")) return in_double ? &baseline_double : &baseline_float;
    return nullptr;
}

// A packed mixture, with a copy of its parameters for comparison.
struct Prepared {
    const std::vector<double> weights, means, variances;
    const Mixture mixture;
    const Standardised standardised;
    const Kernel& kernel;
    Memory constants;

    Prepared(const Mixture& m, const char* isa, bool in_double)
        : weights(m.weights, m.weights + m.k), means(m.means, m.means + m.k * m.d),
          variances(m.variances, m.variances + m.k * m.d),
          mixture{m.k, m.d, weights.data(), means.data(), variances.data()}, standardised(mixture),
          kernel(*kernel_for(isa, in_double || standardised.furthest > FURTHEST)),
          constants(kernel.constants_bytes(m.k, m.d)) {
        kernel.prepare(mixture, standardised.view(), constants.start);
    }

    bool is(const Mixture& m, const char* isa, bool in_double) const {
        auto same = [](const std::vector<double>& a, const double* b) {
            return memcmp(a.data(), b, a.size() * sizeof(double)) == 0;
        };
        return m.k == mixture.k && m.d == mixture.d && same(weights, m.weights) && same(means, m.means) &&
               same(variances, m.variances) &&
               &kernel == kernel_for(isa, in_double || standardised.furthest > FURTHEST);
    }
};

// The packed mixture. It is reused if the next call has the same mixture, as in a pass over many batches.
std::shared_ptr<const Prepared> prepared_for(const Mixture& m, const char* isa, bool in_double) {
    static std::mutex mutex;
    static std::shared_ptr<const Prepared> last;
    {
        const std::lock_guard<std::mutex> lock(mutex);
        if (last && last->is(m, isa, in_double)) return last;
    }
    auto prepared = std::make_shared<const Prepared>(m, isa, in_double);
    const std::lock_guard<std::mutex> lock(mutex);
    return last = prepared;
}

}  // namespace
}  // namespace ildfv
