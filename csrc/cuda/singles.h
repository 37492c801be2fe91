// Moments of slices with a single descriptor each, such as those of layer fc6. The results are far larger than the
// input.
#pragma once
#include "cuda/scoring.h"
#include "cuda/softmax.h"
#include "cuda/staging.h"

namespace ildfv {

// Partial scores of T descriptors over one chunk of dimensions: partial (chunks, b, k).
template <class S>
__device__ void score_singles(Rows x, integer b, Mixture<typename S::real> m, typename S::real* partial) {
    typedef typename S::real real;
    ILDFV_SHARED_MEMORY(memory);
    real* y = reinterpret_cast<real*>(memory);
    real* a = y + S::T * S::DP;
    real* shifts = a + S::KC * S::DP;
    const Corner<S> corner;
    const integer start = (integer)blockIdx.x * S::T;
    const int valid = b - start < S::T ? (int)(b - start) : S::T;
    const int d0 = blockIdx.y * S::DC, dims = m.d - d0 < S::DC ? m.d - d0 : S::DC;
    stage_rows<S>(y, x, start, valid, d0, m.d, m.centre);
    for (int k0 = 0; k0 < m.k; k0 += S::KC) {
        __syncthreads();
        stage_parameters<S>(a, shifts, m.scale, m.shift, k0, m.k, d0, m.d);
        __syncthreads();
        real sum[4][4] = {};
        add_squares<S>(sum, corner, y, a, shifts, dims);
#pragma unroll
        for (int j = 0; j < 4; ++j)
#pragma unroll
            for (int c = 0; c < 4; ++c) {
                const int row = corner.row + j * (S::T / 4), comp = k0 + corner.comp + c * (S::KC / 4);
                if (row < valid && comp < m.k)
                    partial[((integer)blockIdx.y * b + start + row) * m.k + comp] = (real)-0.5 * sum[j][c];
            }
    }
}

// Posteriors and moments of SINGLES slices over one chunk of dimensions. Blocks with blockIdx.y = 0 also write s0 and
// the log likelihood. weights: of the descriptors, or null.
template <class S, int SINGLES>
__device__ void spread_singles(Rows x, integer b, Mixture<typename S::real> m, const typename S::real* weights,
                               typename S::real threshold, const typename S::real* partial, int chunks,
                               typename S::real* s0, typename S::real* s1, typename S::real* s2,
                               double* log_likelihood) {
    typedef typename S::real real;
    const unsigned all = 0xffffffffu;
    ILDFV_SHARED_MEMORY(memory);
    real* gamma = reinterpret_cast<real*>(memory);  // (SINGLES, k)
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, k = m.k, d = m.d;
    const integer start = (integer)blockIdx.x * SINGLES;
    const int valid = b - start < SINGLES ? (int)(b - start) : SINGLES;
    for (int r = warp; r < valid; r += S::WARPS) {
        real* g = gamma + (integer)r * k;
        real top = minus_infinity(real());
        for (int c = lane; c < k; c += 32) {
            real sum = 0;
            for (int chunk = 0; chunk < chunks; ++chunk) sum += partial[((integer)chunk * b + start + r) * k + c];
            g[c] = m.constant[c] + sum;
            top = larger(top, g[c]);
        }
        for (int step = 16; step; step /= 2) top = larger(top, __shfl_xor_sync(all, top, step));
        real total = 0;
        for (int c = lane; c < k; c += 32) {
            const real e = posterior_exp(g[c] - top);
            g[c] = e;
            total += e;
        }
        for (int step = 16; step; step /= 2) total += __shfl_xor_sync(all, total, step);
        const real inverse = 1 / total, weight = weights ? weights[start + r] : (real)1;
        for (int c = lane; c < k; c += 32) {
            const real p = g[c] * inverse;
            g[c] = weight > 0 && p >= threshold ? p * weight : (real)0;
            if (blockIdx.y == 0) s0[(start + r) * k + c] = g[c];
        }
        if (blockIdx.y == 0 && lane == 0)
            log_likelihood[start + r] = weight > 0 ? weight * ((double)top + (double)log(total)) : 0;
    }
    __syncthreads();
    real ys[SINGLES][S::LANE_DIMS];
#pragma unroll
    for (int r = 0; r < SINGLES; ++r)
#pragma unroll
        for (int e = 0; e < S::LANE_DIMS; ++e) {
            const int dim = blockIdx.y * S::DC + lane + 32 * e;
            ys[r][e] = r < valid && dim < d ? value_at<S>(x, start + r, dim) - m.centre[dim] : (real)0;
        }
    for (int c = warp; c < k; c += S::WARPS)
#pragma unroll
        for (int e = 0; e < S::LANE_DIMS; ++e) {
            const int dim = blockIdx.y * S::DC + lane + 32 * e;
            if (dim >= d) continue;
            const real a = m.scale[(integer)c * d + dim], shift = m.shift[(integer)c * d + dim];
#pragma unroll
            for (int r = 0; r < SINGLES; ++r) {
                if (r >= valid) break;
                const real g = gamma[(integer)r * k + c];
                const real t = standardised(ys[r][e], a, shift), gt = g > 0 ? g * t : (real)0;
                const integer at = ((start + r) * k + c) * d + dim;
                s1[at] = gt;
                s2[at] = g > 0 ? gt * t : (real)0;
            }
        }
}

}  // namespace ildfv
