// Local response normalisation of one location, and its gradient. Include it last, because of exact.h.
#pragma once

#include <math.h>
#include <string.h>

#include "response.h"

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
    for (int64_t c = 0; c < channels; ++c) store(direct[c] - 1.5f * r.alpha * as_float(x[c]) * sums[c], out + c);
}

}  // namespace
}  // namespace ildfv
