// The M step: computes new parameters from sums over descriptors, like `m_step` of ildfv/estimators/em.py.
//
// The operations, their order and their rounding are the same, so the results are bitwise identical.
#include "cuda/elements.h"

using namespace ildfv;

// now, next: contiguous weights (k,), means (k, d) and variances (k, d) of a mixture; `next` has masses instead of
// weights. empty: minimum mass of a component. inertia: the current mixture counts as this many additional descriptors
extern "C" __global__ void __launch_bounds__(256)
    m_step(const double* s0, const double* s1, const double* s2, const double* now, double inertia, double empty,
           integer k, integer d, double* next) {
    const integer i = (integer)blockIdx.x * blockDim.x + threadIdx.x, kd = k * d;
    if (i >= kd) return;
    const integer c = i / d;
    const double prior = __dmul_rn(inertia, now[c]), mass = __dadd_rn(s0[c], prior);
    const double divisor = mass > empty ? mass : empty, shift = s1[i] / divisor;  // in standard deviations
    const double mean = now[k + i], variance = now[k + kd + i];
    const double spread = __dadd_rn(__dadd_rn(s2[i], prior) / divisor, -__dmul_rn(shift, shift));
    next[k + i] = __dadd_rn(mean, __dmul_rn(sqrt(variance), shift));
    next[k + kd + i] = __dmul_rn(variance, spread);
    if (i % d == 0) next[c] = mass;
}

#define ILDFV_EM_KERNELS(DO) DO(m_step)
