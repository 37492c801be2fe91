// The M step: sums over descriptors to the parameters that follow, for `m_step` of ildfv/estimators/em.py.
//
// The same operations in the same order, each rounded: the same bits.
#include "cuda/elements.h"

using namespace ildfv;

// now, next: a mixture in a row, weights (k,), means (k, d), variances (k, d); of the next, masses in place of weights.
// empty: what a component's mass counts as at least; inertia: descriptors more that the mixture as it is stands for
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
