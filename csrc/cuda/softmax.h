// Converts the scores of a tile to posteriors and computes the log likelihood.
#pragma once
#include "cuda/tile.h"
#include "cuda/total.h"

namespace ildfv {

// exp of a score minus its row's maximum. The relative error of __expf grows with |x|, but for a large |x| the result
// is negligible.
__device__ __forceinline__ float posterior_exp(float x) { return __expf(x); }
__device__ __forceinline__ double posterior_exp(double x) { return exp(x); }
__device__ __forceinline__ float larger(float a, float b) { return fmaxf(a, b); }
__device__ __forceinline__ double larger(double a, double b) { return fmax(a, b); }
__device__ __forceinline__ float minus_infinity(float) { return as_float(0xff800000u); }
__device__ __forceinline__ double minus_infinity(double) { return (double)as_float(0xff800000u); }

// Replaces scores (T, kp) by posteriors, 0 below the threshold and for rows from `valid` on, multiplied by the weights
// of the descriptors (T,) unless `weights` is null. log_likelihood += Σ weight · log Σ_k exp(score) over the rows of
// this thread.
template <class S>
__device__ void soften(typename S::real* gamma, int kp, int k, int valid, typename S::real threshold,
                       const typename S::real* weights, Total<typename S::real>& log_likelihood) {
    typedef typename S::real real;
    const unsigned all = 0xffffffffu;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    for (int eight = warp; eight < S::T / 8; eight += S::WARPS) {  // a warp has 8 rows, 4 lanes each
        const int row = eight * 8 + lane % 8, part = lane / 8;
        real* g = gamma + (integer)row * kp;
        real top = minus_infinity(real());
        for (int c = part; c < k; c += 4) top = larger(top, g[c]);
        top = larger(top, __shfl_xor_sync(all, top, 8));
        top = larger(top, __shfl_xor_sync(all, top, 16));
        real total = 0;
        for (int c = part; c < k; c += 4) {
            const real e = posterior_exp(g[c] - top);
            g[c] = e;
            total += e;
        }
        total += __shfl_xor_sync(all, total, 8);
        total += __shfl_xor_sync(all, total, 16);
        const real inverse = 1 / total, weight = row >= valid ? (real)0 : weights ? weights[row] : (real)1;
        for (int c = part; c < k; c += 4) {
            const real p = g[c] * inverse;
            g[c] = weight > 0 && p >= threshold ? p * weight : (real)0;
        }
        if (part == 0 && weight > 0) log_likelihood.add(weight * top), log_likelihood.add(weight * log(total));
    }
}

// to = Σ value over the block's threads, in a fixed order. shares: one double per thread, in shared memory
template <class S>
__device__ __forceinline__ void sum_of_threads(double* shares, double value, double* to) {
    shares[threadIdx.x] = value;
    __syncthreads();
    if (threadIdx.x < 32) {
        double sum = 0;
        for (int i = threadIdx.x; i < S::THREADS; i += 32) sum += shares[i];
        for (int step = 16; step; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
        if (threadIdx.x == 0) *to = sum;
    }
}

}  // namespace ildfv
