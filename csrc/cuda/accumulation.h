// Accumulates the sums s0, s1 and s2 from posteriors and staged descriptors.
#pragma once
#include "common/mixture.h"
#include "cuda/tile.h"

namespace ildfv {

// s0 += Σ γ; sets an activity bit for each descriptor with γ > 0, 32 descriptors of a component per word.
// (SEGMENTS, k4) each
template <class S>
__device__ void mark(typename S::real* s0, unsigned* active, const typename S::real* gamma, int kp, int k, int k4,
                     bool first) {
    typedef typename S::real real;
    for (int item = threadIdx.x; item < S::SEGMENTS * k; item += S::THREADS) {
        const int segment = item / k, comp = item % k;
        real sum = 0;
        unsigned bits = 0;
#pragma unroll 8
        for (int r = 0; r < 32; ++r) {
            const real g = gamma[(integer)(segment * 32 + r) * kp + comp];
            sum += g;
            bits |= (unsigned)(g > 0) << r;
        }
        s0[segment * k4 + comp] = first ? sum : s0[segment * k4 + comp] + sum;
        active[segment * k4 + comp] = bits;
    }
}

// Descriptors that are loaded together for a component with few posteriors > 0, because loads limit the speed.
constexpr int AT_ONCE = 4;

// s1 += Σ γt, s2 += Σ γt² of the staged chunk.  s1, s2: (k, d), in shared or device memory, used by this block only
template <class S>
__device__ void add_moments(typename S::real* s1, typename S::real* s2, const typename S::real* y,
                            const typename S::real* a, const typename S::real* b, const typename S::real* gamma, int kp,
                            const unsigned* active, int k4, int k0, int k, int d0, int d, int valid, bool first) {
    typedef typename S::real real;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    // All lanes of a warp have the same job, as its warp operations require.
    for (int job = warp; job < S::KC / S::JOB && k0 + job * S::JOB < k; job += S::WARPS) {
        const int c0 = job * S::JOB;  // first component within the chunk
        int count = 0;
        if (lane < S::JOB * S::SEGMENTS && k0 + c0 + lane % S::JOB < k)
            count = __popc(active[lane / S::JOB * k4 + k0 + c0 + lane % S::JOB]);
        for (int step = 16; step; step /= 2) count += __shfl_xor_sync(0xffffffffu, count, step);
        if (2 * count > S::JOB * valid) {  // most posteriors are > 0: use all, 4 components × 4 dimensions per lane
            const int c = c0 + lane / S::QUADS * 4, i = lane % S::QUADS * 4;
            if (k0 + c >= k || d0 + i >= d) continue;  // no warp operations follow
            Quad<real> as[4], bs[4];
            real m1[4][4] = {}, m2[4][4] = {};
#pragma unroll
            for (int q = 0; q < 4; ++q) as[q] = quad(a + (c + q) * S::DP + i), bs[q] = quad(b + (c + q) * S::DP + i);
#pragma unroll 2
            for (int r = 0; r < valid; ++r) {
                const Quad<real> ys = quad(y + r * S::DP + i), g = quad(gamma + (integer)r * kp + k0 + c);
#pragma unroll
                for (int q = 0; q < 4; ++q)
#pragma unroll
                    for (int e = 0; e < 4; ++e) {
                        const real t = standardised(ys.v[e], as[q].v[e], bs[q].v[e]), gt = g.v[q] * t;
                        m1[q][e] += gt;
                        m2[q][e] += gt * t;
                    }
            }
#pragma unroll
            for (int q = 0; q < 4; ++q)
#pragma unroll
                for (int e = 0; e < 4; ++e) {
                    if (k0 + c + q >= k || d0 + i + e >= d) continue;
                    const integer at = (integer)(k0 + c + q) * d + d0 + i + e;
                    s1[at] = first ? m1[q][e] : s1[at] + m1[q][e];
                    s2[at] = first ? m2[q][e] : s2[at] + m2[q][e];
                }
        } else {  // few are > 0: component by component, descriptors with an activity bit only
            for (int c = c0; c < c0 + S::JOB && k0 + c < k; ++c) {
                real m1[S::LANE_DIMS] = {}, m2[S::LANE_DIMS] = {}, as[S::LANE_DIMS], bs[S::LANE_DIMS];
                unsigned any = 0;
#pragma unroll
                for (int e = 0; e < S::LANE_DIMS; ++e)
                    as[e] = a[c * S::DP + lane + 32 * e], bs[e] = b[c * S::DP + lane + 32 * e];
                for (int segment = 0; segment < S::SEGMENTS; ++segment) {
                    unsigned bits = active[segment * k4 + k0 + c];
                    any |= bits;
                    while (bits) {
                        // Loads of several descriptors are in flight at once; the last ones may repeat one with γ = 0.
                        real g[AT_ONCE], ys[AT_ONCE][S::LANE_DIMS];
                        int r = 0;
#pragma unroll
                        for (int j = 0; j < AT_ONCE; ++j) {
                            if (bits) r = segment * 32 + __ffs(bits) - 1;
                            g[j] = bits ? gamma[(integer)r * kp + k0 + c] : (real)0;
                            bits &= bits - 1;
#pragma unroll
                            for (int e = 0; e < S::LANE_DIMS; ++e) ys[j][e] = y[r * S::DP + lane + 32 * e];
                        }
#pragma unroll
                        for (int j = 0; j < AT_ONCE; ++j)
#pragma unroll
                            for (int e = 0; e < S::LANE_DIMS; ++e) {
                                const real t = standardised(ys[j][e], as[e], bs[e]), gt = g[j] * t;
                                m1[e] += gt;
                                m2[e] += gt * t;
                            }
                    }
                }
                if (!any && !first) continue;
#pragma unroll
                for (int e = 0; e < S::LANE_DIMS; ++e) {
                    const int dim = d0 + lane + 32 * e;
                    if (dim >= d) continue;
                    const integer at = (integer)(k0 + c) * d + dim;
                    s1[at] = first ? m1[e] : s1[at] + m1[e];
                    s2[at] = first ? m2[e] : s2[at] + m2[e];
                }
            }
        }
    }
}

}  // namespace ildfv
