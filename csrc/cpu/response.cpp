#include "response.h"

#include <math.h>
#include <string.h>

#include <vector>

#include "exact.h"

namespace ildfv {
namespace {

ILDFV_INLINED float as_float(float value) { return value; }
ILDFV_INLINED float as_float(uint16_t value) {
    const uint32_t bits = (uint32_t)value << 16;
    float result;
    memcpy(&result, &bits, 4);
    return result;
}

ILDFV_INLINED void store(float value, float* to) { *to = value; }
ILDFV_INLINED void store(float value, uint16_t* to) {  // rounds to nearest, ties to even
    uint32_t bits;
    memcpy(&bits, &value, 4);
    *to = value == value ? (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) : 0x7fc0;
}

// sums[c] = Σ terms[c + j], j = −reach … reach, added in this order; terms has `reach` zeros before and after.
ILDFV_INLINED void add_neighbours(const float* terms, int64_t channels, int64_t reach, float* sums) {
    if (reach == 2) {  // of CNN-F; sums stay in registers
        for (int64_t c = 0; c < channels; ++c)
            sums[c] = terms[c - 2] + terms[c - 1] + terms[c] + terms[c + 1] + terms[c + 2];
        return;
    }
    for (int64_t c = 0; c < channels; ++c) sums[c] = terms[c - reach];
    for (int64_t j = 1 - reach; j <= reach; ++j)
        for (int64_t c = 0; c < channels; ++c) sums[c] += terms[c + j];
}

// One location. terms: (channels + 2·reach), whose ends stay zero.
template <class Real>
ILDFV_INLINED void one(const Real* x, int64_t channels, Response r, float* terms, float* sums, Real* out) {
    for (int64_t c = 0; c < channels; ++c) terms[r.reach + c] = as_float(x[c]) * as_float(x[c]);
    add_neighbours(terms + r.reach, channels, r.reach, sums);
    for (int64_t c = 0; c < channels; ++c) {
        const float root = sqrtf(r.kappa + r.alpha * sums[c]);
        store(as_float(x[c]) / (root * sqrtf(root)), out + c);
    }
}

// direct: (channels,).
template <class Real>
ILDFV_INLINED void one_gradient(const Real* x, const Real* gradient, int64_t channels, Response r, float* terms,
                                float* sums, float* direct, Real* out) {
    for (int64_t c = 0; c < channels; ++c) terms[r.reach + c] = as_float(x[c]) * as_float(x[c]);
    add_neighbours(terms + r.reach, channels, r.reach, sums);
    for (int64_t c = 0; c < channels; ++c) {
        const float y = r.kappa + r.alpha * sums[c], root = sqrtf(y);
        const float power = 1 / (root * sqrtf(root));  // y^−¾
        direct[c] = as_float(gradient[c]) * power;
        terms[r.reach + c] = direct[c] * as_float(x[c]) * (power * power * root);  // power² · root = 1/y
    }
    add_neighbours(terms + r.reach, channels, r.reach, sums);
    for (int64_t c = 0; c < channels; ++c)
        store(direct[c] - 1.5f * r.alpha * as_float(x[c]) * sums[c], out + c);
}

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
