// Local response normalisation of activation maps over neighbouring channels, in a single pass without temporary maps.
#pragma once

#include <stdint.h>

namespace ildfv {

// y = kappa + alpha Σ x² over the channels at most `reach` away.
struct Response {
    float alpha, kappa;
    int64_t reach;
};

// out = x · y^−¾. x, out: (locations, channels), float32 or, as uint16_t, bfloat16. threads: of OpenMP.
template <class Real>
void normalise(const Real* x, int64_t locations, int64_t channels, Response, int threads, Real* out);

// The gradient with respect to x, from the gradient g with respect to the result: g·y^−¾ − 3/2·alpha·x·Σ g·x·y^−7/4,
// where Σ is over the same channels. y is computed again, because reading it would be slower.
template <class Real>
void normalise_gradient(const Real* x, const Real* gradient, int64_t locations, int64_t channels, Response,
                        int threads, Real* out);

}  // namespace ildfv
