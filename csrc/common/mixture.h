// The maths of one descriptor under one component of a diagonal Gaussian mixture, for host (C++17) and device (NVRTC).
//
//   t = (x − mean)/sd = y·a + b,   y = x − centre,   a = 1/sd,   b = −(mean − centre)/sd
//   log(w N(x | mean, variance)) = c − ½ Σ t²
//
// a, b and c are computed in double and rounded once. The centre is the same for all components and is rounded to the
// precision of x first, so that y has a single rounding error and b is computed from the rounded centre.
#pragma once

#ifdef __CUDACC_RTC__
#define ILDFV_FN __host__ __device__ __forceinline__
#else
#include <math.h>
#ifdef __CUDACC__
#define ILDFV_FN __host__ __device__ inline
#else
#define ILDFV_FN static inline
#endif
#endif

namespace ildfv {

// a = 1/sd
ILDFV_FN double scale_of(double variance) { return 1.0 / sqrt(variance); }

// b = −(mean − centre)/sd
ILDFV_FN double shift_of(double mean, double centre, double variance) { return (centre - mean) * scale_of(variance); }

// c = log w − ½ (d log 2π + Σ log variance)
ILDFV_FN double constant_of(double weight, double sum_log_variances, long long d) {
    const double log_2_pi = 1.8378770664093454836;
    return log(weight) - 0.5 * ((double)d * log_2_pi + sum_log_variances);
}

// t = y·a + b
template <class real>
ILDFV_FN real standardised(real y, real a, real b) {
    return y * a + b;  // contracted to one FMA
}

// sum + t²
template <class real>
ILDFV_FN real squares(real sum, real y, real a, real b) {
    const real t = standardised(y, a, b);
    return sum + t * t;
}

}  // namespace ildfv
