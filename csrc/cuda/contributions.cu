// Contributions of descriptors to linear functionals of the moments of their slice: the backward counterpart of
// moments.cu, with the same scores and posteriors.
//
//   q_ic = weight_i Σ_k γ_ik Σ_d (first_ckd t_ikd + second_ckd (t_ikd² − 1))
#include "common/mixture.h"
#include "cuda/accumulation.h"
#include "cuda/scoring.h"
#include "cuda/softmax.h"
#include "cuda/staging.h"

namespace ildfv {

// Adds the contributions of the staged chunk to out (rows, count), for this warp's rows of the tile, which no other
// warp accesses. Eight lanes compute a descriptor, and four descriptors of a component are computed at a time.
// first, second: (count, k, d)
template <class S>
__device__ void add_contributions(double* out, const typename S::real* y, const typename S::real* a,
                                  const typename S::real* b, const typename S::real* gamma, int kp,
                                  const unsigned* active, int k4, int k0, int k, int d0, int d,
                                  const typename S::real* first, const typename S::real* second, int count) {
    typedef typename S::real real;
    constexpr int ROWS = S::T / S::WARPS, FUNCTIONALS = 4;
    static_assert(ROWS < 32 && 32 % ROWS == 0, "the rows of a warp are within one word of activity bits");
    const unsigned all = 0xffffffffu;
    const int own = threadIdx.x / 32 * ROWS, lane = threadIdx.x % 32, group = lane / 8;
    const int dims = d - d0 < S::DC ? d - d0 : S::DC;
    for (int c = 0; c < S::KC && k0 + c < k; ++c) {
        unsigned bits = active[own / 32 * k4 + k0 + c] >> own % 32 & ((1u << ROWS) - 1);
        while (bits) {
            int row = own + __ffs(bits) - 1;  // a group without a descriptor computes the first one, but stores nothing
            bool some = false;
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                if (j == group && bits) row = own + __ffs(bits) - 1, some = true;
                bits &= bits - 1;
            }
            const real *ys = y + row * S::DP, *as = a + c * S::DP, *bs = b + c * S::DP;
            const real g = gamma[(integer)row * kp + k0 + c];
            for (int f = 0; f < count; f += FUNCTIONALS) {
                real sum[FUNCTIONALS] = {};
                for (int i = lane % 8; i < dims; i += 8) {
                    const real t = standardised(ys[i], as[i], bs[i]), square = t * t - 1;
#pragma unroll
                    for (int e = 0; e < FUNCTIONALS; ++e) {
                        if (f + e >= count) break;
                        const integer at = ((integer)(f + e) * k + k0 + c) * d + d0 + i;
                        sum[e] += first[at] * t + second[at] * square;
                    }
                }
#pragma unroll
                for (int e = 0; e < FUNCTIONALS; ++e) {
                    for (int step = 4; step; step /= 2) sum[e] += __shfl_xor_sync(all, sum[e], step);
                    if (some && lane % 8 == 0 && f + e < count) out[(integer)row * count + f + e] += (double)g * sum[e];
                }
            }
        }
        __syncwarp();  // the next component may assign these rows to other lanes
    }
}

// Contributions of one piece, out (rows, count), and its log likelihood. GAMMA_SHARED: as in moments.cu
template <class S, bool GAMMA_SHARED>
__device__ void contributions_of(Rows x, integer rows, const typename S::real* weights, Mixture<typename S::real> m,
                                 typename S::real threshold, const typename S::real* first,
                                 const typename S::real* second, int count, double* out, double* log_likelihood,
                                 typename S::real* scratch) {
    typedef typename S::real real;
    const int d = m.d, k = m.k, k4 = (k + 3) & ~3, kp = padded(k);
    ILDFV_SHARED_MEMORY(memory);
    real* y = reinterpret_cast<real*>(memory);                                                  // (T, DP)
    real* a = y + S::T * S::DP;                                                                 // (KC, DP)
    real* b = a + S::KC * S::DP;                                                                // (KC, DP)
    real* own_s0 = b + S::KC * S::DP;                                                           // (SEGMENTS, k4)
    unsigned* active = reinterpret_cast<unsigned*>(own_s0 + S::SEGMENTS * k4);                  // (SEGMENTS, k4)
    real* gamma = GAMMA_SHARED ? reinterpret_cast<real*>(active + S::SEGMENTS * k4) : scratch;  // (T, kp)
    constexpr int ROWS = S::T / S::WARPS;
    const int own = threadIdx.x / 32 * ROWS, last_d = (d - 1) / S::DC * S::DC, last_k = (k - 1) / S::KC * S::KC;
    Staged<S, false> staged{y, a, b, weights};
    Total<real> own_log_likelihood;
    for (integer start = 0; start < rows; start += S::T) {
        const int valid = rows - start < S::T ? (int)(rows - start) : S::T;
        staged.rows_d0 = -1;
        score_tile<S>(gamma, kp, staged, x, start, valid, m);
        __syncthreads();
        soften<S>(gamma, kp, k, valid, threshold, staged.weights, own_log_likelihood);
        __syncthreads();
        mark<S>(own_s0, active, gamma, kp, k, k4, true);
        double* own_out = out + start * count;
        for (int i = threadIdx.x % 32; i < ROWS * count; i += 32)
            if (own + i / count < valid) own_out[(integer)own * count + i] = 0;
        __syncthreads();
        for (int d0 = last_d; d0 >= 0; d0 -= S::DC)
            for (int k0 = last_k; k0 >= 0; k0 -= S::KC) {
                staged.bring(x, start, valid, m, m.scale, m.shift, d, k0, d0);
                add_contributions<S>(own_out, y, a, b, gamma, kp, active, k4, k0, k, d0, d, first, second, count);
            }
        if (staged.weights) staged.weights += S::T;
    }
    __syncthreads();
    sum_of_threads<S>(reinterpret_cast<double*>(y), own_log_likelihood.template as<double>(), log_likelihood);
}

}  // namespace ildfv

using namespace ildfv;

// `pieces` lists (address, descriptors, row stride, dimension stride, address of weights, first row of `out`, slice) of
// each piece. first, second: (count, k, d) of slice s at s·functional_stride.
#define ILDFV_CONTRIBUTIONS(NAME, TILE, GAMMA)                                                                         \
    extern "C" __global__ void __launch_bounds__(TILE::THREADS, TILE::BLOCKS)                                          \
        NAME(const integer* pieces, integer element, integer first_piece, integer d, integer k,                        \
             const TILE::real* centre, const TILE::real* scale, const TILE::real* shift, const TILE::real* constant,   \
             double threshold, const TILE::real* first, const TILE::real* second, integer count,                       \
             integer functional_stride, double* out, double* log_likelihood, TILE::real* scratch) {                    \
        const integer piece = first_piece + blockIdx.x;                                                                \
        const integer* listed = pieces + 7 * piece;                                                                    \
        const integer functional = listed[6] * functional_stride;                                                      \
        contributions_of<TILE, GAMMA>(                                                                                 \
            {reinterpret_cast<const void*>(listed[0]), (int)element, listed[2], listed[3]}, listed[1],                 \
            reinterpret_cast<const TILE::real*>(listed[4]), {centre, scale, shift, constant, (int)d, (int)k},          \
            (TILE::real)threshold, first + functional, second + functional, (int)count, out + listed[5] * count,       \
            log_likelihood + piece, scratch + (integer)blockIdx.x * TILE::T * padded((int)k));                         \
    }

ILDFV_CONTRIBUTIONS(contributions_wide_float32, FloatTile, true)
ILDFV_CONTRIBUTIONS(contributions_huge_float32, FloatTile, false)
ILDFV_CONTRIBUTIONS(contributions_wide_float64, DoubleTile, true)
ILDFV_CONTRIBUTIONS(contributions_huge_float64, DoubleTile, false)

#define ILDFV_CONTRIBUTION_KERNELS(DO)                                                                                 \
    DO(contributions_wide_float32)                                                                                     \
    DO(contributions_huge_float32) DO(contributions_wide_float64) DO(contributions_huge_float64)
