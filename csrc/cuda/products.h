// The moments of a tile on tensor cores: Σ γy and Σ γy² in TF32, each factor in two parts, with the precision of float.
// Only for means within 4 standard deviations of the centre, for which converting these sums to Σ γt and Σ γt² loses no
// precision.
#pragma once
#include "cuda/mma.h"

namespace ildfv {

// This warp's share of a chunk: 16 components × half of the dimensions
template <class S>
struct Share {
    int comp, dim;  // within the chunk
    __device__ __forceinline__ Share() : comp(threadIdx.x / 64 * 16), dim(threadIdx.x / 32 % 2 * (S::DC / 2)) {
        static_assert(S::KC == 32 && S::WARPS == 4 && S::SEGMENTS == 2,
                      "four warps, 16 components × half the dimensions each");
    }
};

// Whether most posteriors of the share's components are > 0. The result is the same in both warps with these
// components.
template <class S>
__device__ __forceinline__ bool mostly_active(const unsigned* active, int k4, int k0, int k, int valid) {
    const int lane = threadIdx.x % 32, comp = k0 + Share<S>().comp + lane % 16;
    int count = comp < k ? __popc(active[lane / 16 * k4 + comp]) : 0;
    for (int step = 16; step; step /= 2) count += __shfl_xor_sync(0xffffffffu, count, step);
    const int left = k - k0 - Share<S>().comp;
    return left > 0 && 2 * count > (left < 16 ? left : 16) * valid;
}

// Like add_moments: s1 += a Σγy + b Σγ, s2 += a (a Σγy² + 2b Σγy) + b² Σγ
template <class S>
__device__ void add_moments_by_products(float* s1, float* s2, const float* y, const float* a, const float* b,
                                        const float* gamma, int kp, int k0, int k, int d0, int d, int valid,
                                        bool first) {
    constexpr int EIGHTS = S::DC / 16;  // of dimensions
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const Share<S> share;
    const int comp = k0 + share.comp + g;  // this lane also computes component comp + 8
    float linear[EIGHTS][4] = {}, squared[EIGHTS][4] = {}, mass[2] = {};
    // γ and y are 0 from row `valid` on. Lane t reads rows 2t and 2t + 1, which avoids bank conflicts.
#pragma unroll 1
    for (int r = 0; r < valid; r += 8) {
        Split weights[4];
#pragma unroll
        for (int odd = 0; odd < 2; ++odd)
#pragma unroll
            for (int eight = 0; eight < 2; ++eight) {
                const integer at = (integer)(r + 2 * t + odd) * kp + comp + 8 * eight;
                const float value = comp + 8 * eight < k ? gamma[at] : 0.0f;
                mass[eight] += value;
                weights[2 * odd + eight] = split_tf32(value);
            }
#pragma unroll
        for (int v = 0; v < EIGHTS; ++v) {
            const float* from = y + (r + 2 * t) * S::DP + share.dim + 8 * v + g;
            const float even = from[0], odd = from[S::DP];
            const Split values[2] = {split_tf32(even), split_tf32(odd)};
            const Split squares[2] = {split_tf32(even * even), split_tf32(odd * odd)};
            multiply_add<TF32_PARTS>(linear[v], weights, values);
            multiply_add<TF32_PARTS>(squared[v], weights, squares);
        }
    }
#pragma unroll
    for (int eight = 0; eight < 2; ++eight) {
        mass[eight] += __shfl_xor_sync(0xffffffffu, mass[eight], 1);
        mass[eight] += __shfl_xor_sync(0xffffffffu, mass[eight], 2);
    }
#pragma unroll
    for (int v = 0; v < EIGHTS; ++v)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
            const int c = comp + e / 2 * 8, i = share.dim + 8 * v + 2 * t + e % 2;
            if (c >= k || d0 + i >= d) continue;
            const float as = a[(c - k0) * S::DP + i], bs = b[(c - k0) * S::DP + i], m = mass[e / 2];
            const float m1 = as * linear[v][e] + bs * m;
            const float m2 = as * (as * squared[v][e] + 2 * bs * linear[v][e]) + bs * bs * m;
            const integer at = (integer)c * d + d0 + i;
            s1[at] = first ? m1 : s1[at] + m1;
            s2[at] = first ? m2 : s2[at] + m2;
        }
}

}  // namespace ildfv
