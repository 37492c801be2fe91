// Scores of a tile: squared distances in standard deviations, computed in registers, 4 descriptors × 4 components per
// thread.
#pragma once
#include "common/mixture.h"
#include "cuda/staging.h"
#include "cuda/tile.h"

namespace ildfv {

// The 4 × 4 elements of the tile computed by this thread: descriptors row + j·T/4 and components comp + c·KC/4.
// A warp covers 8 descriptors × 4 components, so that shared memory is read without bank conflicts. Descriptors and
// components alternate in the bits of the lane: lanes 2 apart read the same y, lanes 1 apart the same a and b. A load
// of 16 bytes per lane then takes two passes; with eight descriptors in neighbouring lanes, loading y would take four.
template <class S>
struct Corner {
    int row, comp;
    __device__ __forceinline__ Corner() {
        constexpr int ROW_WARPS = S::T / 4 / 8;
        const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
        row = (lane & 1) + (lane >> 1 & 2) + (lane >> 2 & 4) + 8 * (warp % ROW_WARPS);  // bits 0, 2 and 4
        comp = (lane >> 1 & 1) + (lane >> 2 & 2) + 4 * (warp / ROW_WARPS);              // bits 1 and 3
    }
};

// sum[j][c] += Σ t² over the staged dimensions
template <class S>
__device__ __forceinline__ void add_squares(typename S::real (&sum)[4][4], Corner<S> corner, const typename S::real* y,
                                            const typename S::real* a, const typename S::real* b, int dims) {
    typedef typename S::real real;
    real part[4][4] = {};  // sums per chunk: blocked summation is accurate up to d = 4096
#pragma unroll 2
    for (int i = 0; i < dims; i += 4) {
        Quad<real> ys[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) ys[j] = quad(y + (corner.row + j * (S::T / 4)) * S::DP + i);
#pragma unroll
        for (int c = 0; c < 4; ++c) {
            const Quad<real> as = quad(a + (corner.comp + c * (S::KC / 4)) * S::DP + i);
            const Quad<real> bs = quad(b + (corner.comp + c * (S::KC / 4)) * S::DP + i);
#pragma unroll
            for (int j = 0; j < 4; ++j)
#pragma unroll
                for (int e = 0; e < 4; ++e) part[j][c] = squares(part[j][c], ys[j].v[e], as.v[e], bs.v[e]);
        }
    }
#pragma unroll
    for (int j = 0; j < 4; ++j)
#pragma unroll
        for (int c = 0; c < 4; ++c) sum[j][c] += part[j][c];
}

// gamma (T, kp) = c − ½ Σ t² of a tile, its descriptors from row `start` on
template <class S, class Staged>
__device__ __forceinline__ void score_tile(typename S::real* gamma, int kp, Staged& staged, Rows x, integer start,
                                           int valid, const Mixture<typename S::real>& m) {
    typedef typename S::real real;
    const Corner<S> corner;
    const int d = m.d, k = m.k, k4 = (k + 3) & ~3;
    for (int k0 = 0; k0 < k; k0 += S::KC) {
        real sum[4][4] = {};
        for (int d0 = 0; d0 < d; d0 += S::DC) {
            staged.bring(x, start, valid, m, m.scale, m.shift, d, k0, d0);
            add_squares<S>(sum, corner, staged.y, staged.a, staged.b, d - d0 < S::DC ? d - d0 : S::DC);
        }
#pragma unroll
        for (int j = 0; j < 4; ++j)
#pragma unroll
            for (int c = 0; c < 4; ++c) {
                const int comp = k0 + corner.comp + c * (S::KC / 4);
                if (comp < k4)
                    gamma[(integer)(corner.row + j * (S::T / 4)) * kp + comp] =
                        comp < k ? m.constant[comp] - (real)0.5 * sum[j][c] : (real)0;
            }
    }
}

}  // namespace ildfv
