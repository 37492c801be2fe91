#include "response.h"

#include <vector>

#include "response_terms.h"

namespace ildfv {
namespace {

// Computes a part of the locations: the gradient or, if `gradient` is null, the normalisation itself.
#define ILDFV_PART(Real)                                                                                        \
    ILDFV_ALSO_AVX2 void part(const Real* x, const Real* gradient, int64_t locations, int64_t channels, Response r, \
                              float* terms, float* sums, float* direct, Real* out) {                            \
        for (int64_t i = 0; i < locations; ++i, x += channels, out += channels) {                               \
            if (gradient)                                                                                       \
                one_gradient(x, gradient + i * channels, channels, r, terms, sums, direct, out);                \
            else                                                                                                \
                one(x, channels, r, terms, sums, out);                                                          \
        }                                                                                                       \
    }
ILDFV_PART(float)  // target_clones does not apply to templates
ILDFV_PART(uint16_t)

template <class Real>
void run(const Real* x, const Real* gradient, int64_t locations, int64_t channels, Response r, int threads, Real* out) {
    const int64_t width = channels + 2 * r.reach;
    std::vector<float> scratch(threads * 3 * width);
#pragma omp parallel for num_threads(threads)
    for (int t = 0; t < threads; ++t) {
        const int64_t first = locations * t / threads, last = locations * (t + 1) / threads;
        float* mine = scratch.data() + t * 3 * width;
        part(x + first * channels, gradient ? gradient + first * channels : nullptr, last - first, channels, r, mine,
             mine + width, mine + 2 * width, out + first * channels);
    }
}

}  // namespace

template <class Real>
void normalise(const Real* x, int64_t locations, int64_t channels, Response r, int threads, Real* out) {
    run(x, (const Real*)nullptr, locations, channels, r, threads, out);
}

template <class Real>
void normalise_gradient(const Real* x, const Real* gradient, int64_t locations, int64_t channels, Response r,
                        int threads, Real* out) {
    run(x, gradient, locations, channels, r, threads, out);
}

template void normalise(const float*, int64_t, int64_t, Response, int, float*);
template void normalise(const uint16_t*, int64_t, int64_t, Response, int, uint16_t*);
template void normalise_gradient(const float*, const float*, int64_t, int64_t, Response, int, float*);
template void normalise_gradient(const uint16_t*, const uint16_t*, int64_t, int64_t, Response, int, uint16_t*);

}  // namespace ildfv
