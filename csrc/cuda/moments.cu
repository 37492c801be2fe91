// Moments on the GPU: a single pass over the descriptors in device memory, without intermediate results of size n·k.
//
// A block processes one piece of a slice (a few hundred descriptors) tile by tile, in four steps: staging.h, scoring.h,
// softmax.h, accumulation.h. Scores and posteriors stay within the block, which writes the sums of its piece. `finish`
// adds the sums of pieces in order, with more than float precision. The division into pieces depends only on n and k,
// so that the result of a slice is bitwise identical in any batch and on any number of multiprocessors.
//
// This source is compiled by NVRTC (CuPy's RawModule), by nvcc (launch.cu) and, in tests, by a C++ compiler.
#include "cuda/accumulation.h"
#include "cuda/finish.h"
#include "cuda/products.h"
#include "cuda/scoring.h"
#include "cuda/screened.h"
#include "cuda/singles.h"
#include "cuda/softmax.h"
#include "cuda/staging.h"

namespace ildfv {

// The sums of one piece. weights: one per row, or null. SUMS_SHARED: s1 and s2 are accumulated in shared memory,
// otherwise directly in the output. GAMMA_SHARED: posteriors are in shared memory, otherwise, for large k, in `scratch`
// (T·kp reals per block). TENSOR: products use tensor cores.
template <class S, bool SUMS_SHARED, bool GAMMA_SHARED, bool TENSOR>
__device__ void moments_of(Rows x, integer rows, const typename S::real* weights, Mixture<typename S::real> m,
                           typename S::real threshold, typename S::real* s0, typename S::real* s1, typename S::real* s2,
                           double* log_likelihood, typename S::real* scratch) {
    typedef typename S::real real;
    const int d = m.d, k = m.k, d4 = (d + 3) & ~3, k4 = (k + 3) & ~3, kp = padded(k), words = (k + 31) / 32;
    ILDFV_SHARED_MEMORY(memory);
    real* y = reinterpret_cast<real*>(memory);                                  // (T, DP)
    real* a = y + S::T * S::DP;                                                 // (KC, DP)
    real* b = a + S::KC * S::DP;                                                // (KC, DP)
    real* own_s0 = b + S::KC * S::DP;                                           // (SEGMENTS, k4)
    unsigned* active = reinterpret_cast<unsigned*>(own_s0 + S::SEGMENTS * k4);  // (SEGMENTS, k4)
    unsigned* near = active + S::SEGMENTS * k4;                                 // (T, words)
    unsigned* counts = near + (TENSOR ? S::T * words : 0);                      // (WARPS,)
    unsigned* lists = counts + (TENSOR ? S::WARPS : 0);                         // (WARPS, k4) of 16 bits
    real* rest = reinterpret_cast<real*>(lists + (TENSOR ? S::WARPS * k4 / 2 : 0));
    real* gamma = GAMMA_SHARED ? rest : scratch;                              // (T, kp)
    real* own_s1 = SUMS_SHARED ? rest + (GAMMA_SHARED ? S::T * kp : 0) : s1;  // (k, d)
    real* own_s2 = SUMS_SHARED ? own_s1 + k * d : s2;                         // (k, d)

    const int last_d = (d - 1) / S::DC * S::DC, last_k = (k - 1) / S::KC * S::KC;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
    constexpr bool AHEAD = false;  // tensor cores are not used on these devices
#else
    constexpr bool AHEAD = TENSOR && GAMMA_SHARED;  // otherwise there are too few registers
#endif
    Staged<S, AHEAD> staged{y, a, b, weights};
    bool screening = TENSOR;
    Total<real> own_log_likelihood;

    for (integer start = 0; start < rows; start += S::T) {
        const int valid = rows - start < S::T ? (int)(rows - start) : S::T;
        const bool first = start == 0;
        staged.rows_d0 = -1;

        if constexpr (TENSOR) {
            if (screening) {
                const int warp = threadIdx.x / 32;
                float least[2] = {minus_infinity(0.0f), minus_infinity(0.0f)};
                for (int k0 = 0; k0 < k; k0 += S::KC) {
                    float sum[S::KC / 8][4] = {};
                    for (int d0 = 0; d0 < d; d0 += S::DC) {
                        staged.bring(x, start, valid, m, m.squares, m.products, d4, k0, d0);
                        if (d0 + S::DC < d)
                            staged.look_ahead(m, m.squares, m.products, d4, k0, d0 + S::DC);
                        else if (k0 + S::KC < k)
                            staged.look_ahead(m, m.squares, m.products, d4, k0 + S::KC, 0);
                        add_screened<S>(sum, y, a, b, d - d0 < S::DC ? d - d0 : S::DC);
                    }
                    keep_screened<S>(gamma, kp, least, sum, m.base, m.slack, k0, k, k4);
                }
                // k · e^-depth is below the precision of a float sum
                const float depth = fmaxf(fmaxf(17.0f, 12.5f + log((float)k)), 0.01f - log(threshold));
                const int found = choose_near<S>(near, words, gamma, kp, least, m.slack, depth, k, valid);
                if (threadIdx.x % 32 == 0) counts[warp] = found;
                unsigned short* list = reinterpret_cast<unsigned short*>(lists) + warp * k4;
                for (int d0 = last_d; d0 >= 0; d0 -= S::DC) {
                    staged.bring(x, start, valid, m, nullptr, nullptr, d, 0, d0);
                    score_near<S>(gamma, kp, near, words, list, y, m.scale, m.shift, m.constant, d0, d, d0 == last_d);
                }
            }
        }
        if (!screening) score_tile<S>(gamma, kp, staged, x, start, valid, m);
        __syncthreads();
        if (screening && TENSOR) {  // if many components are near, screening takes more time than it saves
            unsigned found = 0;
            for (int warp = 0; warp < S::WARPS; ++warp) found += counts[warp];
            screening = 4 * found <= (unsigned)(valid * k);
        }
        soften<S>(gamma, kp, k, valid, threshold, staged.weights, own_log_likelihood);
        __syncthreads();
        mark<S>(own_s0, active, gamma, kp, k, k4, first);
        __syncthreads();
        // Chunks in reverse order, because the last chunk is still staged after the scores have been computed.
        for (int d0 = last_d; d0 >= 0; d0 -= S::DC)
            for (int k0 = last_k; k0 >= 0; k0 -= S::KC) {
                staged.bring(x, start, valid, m, m.scale, m.shift, d, k0, d0);
                if (k0 > 0)
                    staged.look_ahead(m, m.scale, m.shift, d, k0 - S::KC, d0);
                else if (d0 > 0)
                    staged.look_ahead(m, m.scale, m.shift, d, last_k, d0 - S::DC);
                if constexpr (TENSOR) {
                    if (m.close && mostly_active<S>(active, k4, k0, k, valid)) {
                        add_moments_by_products<S>(own_s1, own_s2, y, a, b, gamma, kp, k0, k, d0, d, valid, first);
                        continue;
                    }
                }
                add_moments<S>(own_s1, own_s2, y, a, b, gamma, kp, active, k4, k0, k, d0, d, valid, first);
            }
        if (staged.weights) staged.weights += S::T;
    }

    __syncthreads();
    if (SUMS_SHARED)
        for (int i = threadIdx.x; i < k * d; i += S::THREADS) s1[i] = own_s1[i], s2[i] = own_s2[i];
    for (int c = threadIdx.x; c < k; c += S::THREADS) {
        real sum = 0;
        for (int segment = 0; segment < S::SEGMENTS; ++segment) sum += own_s0[segment * k4 + c];
        s0[c] = sum;
    }
    sum_of_threads<S>(reinterpret_cast<double*>(y), own_log_likelihood.template as<double>(), log_likelihood);
}

}  // namespace ildfv

using namespace ildfv;

// Uniform slices of n descriptors: piece p consists of descriptors (p mod splits)·piece_rows … of slice p / splits.
// Ragged slices: `pieces` lists (address, descriptors, row stride, dimension stride, address of weights) of each piece.
// weights: of all descriptors of uniform slices; null: 1 each.
// With tensor cores, two blocks share a multiprocessor: for 256 or more components, three do not fit in shared memory.
// With posteriors in device memory, there are also two blocks, because with three there would be too few registers.
#define ILDFV_MOMENTS(NAME, TILE, SUMS, GAMMA, TENSOR)                                                                 \
    extern "C" __global__ void __launch_bounds__(TILE::THREADS, (TENSOR || !GAMMA) ? TILE::FEW_BLOCKS : TILE::BLOCKS)  \
        NAME(const unsigned char* x, integer element, const integer* pieces, integer first_piece, integer n,           \
             integer splits, integer piece_rows, integer slice_stride, integer row_stride, integer dim_stride,         \
             const TILE::real* weights, integer d, integer k, const TILE::real* centre, const TILE::real* scale,       \
             const TILE::real* shift, const TILE::real* constant, const TILE::real* squares,                           \
             const TILE::real* products, const TILE::real* base, const TILE::real* slack, integer close,               \
             double threshold, TILE::real* s0, TILE::real* s1, TILE::real* s2, double* log_likelihood,                 \
             TILE::real* scratch) {                                                                                    \
        const integer piece = first_piece + blockIdx.x, start = piece % splits * piece_rows, left = n - start;         \
        const integer offset = piece / splits * slice_stride + start * row_stride;                                     \
        const integer* listed = pieces + 5 * piece;                                                                    \
        if (weights) weights += piece / splits * n + start;                                                            \
        if (pieces) weights = reinterpret_cast<const TILE::real*>(listed[4]);                                          \
        Rows data = {x + offset * ELEMENT_BYTES[element], (int)element, row_stride, dim_stride};                       \
        if (pieces) data = {reinterpret_cast<const void*>(listed[0]), (int)element, listed[2], listed[3]};             \
        const integer rows = pieces ? listed[1] : left < piece_rows ? left : piece_rows;                               \
        moments_of<TILE, SUMS, GAMMA, TENSOR>(                                                                         \
            data, rows, weights,                                                                                       \
            {centre, scale, shift, constant, (int)d, (int)k, squares, products, base, slack, close != 0},              \
            (TILE::real)threshold, s0 + piece * k, s1 + piece * k * d, s2 + piece * k * d, log_likelihood + piece,     \
            scratch + (integer)blockIdx.x * TILE::T * padded((int)k));                                                 \
    }

// One descriptor per slice, starting at element b·row_stride; in two steps, so that even few slices with many
// dimensions occupy the device.
#define ILDFV_SINGLES(REAL, TILE, SINGLES)                                                                             \
    extern "C" __global__ void __launch_bounds__(TILE::THREADS, 4) score_singles_##REAL(                               \
        const void* x, integer element, integer b, integer row_stride, integer dim_stride, integer d, integer k,       \
        const TILE::real* centre, const TILE::real* scale, const TILE::real* shift, TILE::real* partial) {             \
        score_singles<TILE>({x, (int)element, row_stride, dim_stride}, b,                                              \
                            {centre, scale, shift, nullptr, (int)d, (int)k}, partial);                                 \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(TILE::THREADS, 4) spread_singles_##REAL(                              \
        const void* x, integer element, integer b, integer row_stride, integer dim_stride, integer d, integer k,       \
        const TILE::real* centre, const TILE::real* scale, const TILE::real* shift, const TILE::real* constant,        \
        const TILE::real* weights, double threshold, const TILE::real* partial, integer chunks, TILE::real* s0,        \
        TILE::real* s1, TILE::real* s2, double* log_likelihood) {                                                      \
        spread_singles<TILE, SINGLES>({x, (int)element, row_stride, dim_stride}, b,                                    \
                                      {centre, scale, shift, constant, (int)d, (int)k}, weights,                       \
                                      (TILE::real)threshold, partial, (int)chunks, s0, s1, s2, log_likelihood);        \
    }

#define ILDFV_ALL_OF(REAL, TILE, SINGLES)                                                                              \
    ILDFV_MOMENTS(moments_resident_##REAL, TILE, true, true, false)                                                    \
    ILDFV_MOMENTS(moments_wide_##REAL, TILE, false, true, false)                                                       \
    ILDFV_MOMENTS(moments_huge_##REAL, TILE, false, false, false)                                                      \
    ILDFV_SINGLES(REAL, TILE, SINGLES)

#define ILDFV_FINISH(NAME, FROM, TO)                                                                                   \
    extern "C" __global__ void __launch_bounds__(256) NAME(                                                            \
        const FROM* s0, const FROM* s1, const FROM* s2, const double* log_likelihood, TO* to_s0, TO* to_s1, TO* to_s2, \
        double* to_log_likelihood, integer d, integer k, integer pieces, integer each, const integer* edges) {         \
        finish<FROM, TO>(s0, s1, s2, log_likelihood, to_s0, to_s1, to_s2, to_log_likelihood, d, k, pieces, each,       \
                         edges);                                                                                       \
    }

// ILDFV_PART = 32, 64 or 19 (TF32 has 19 bits) compiles only these kernels, which shortens compilation at first use.
#if !defined(ILDFV_PART) || ILDFV_PART == 32
ILDFV_ALL_OF(float32, FloatTile, 8)
ILDFV_FINISH(finish_float32_float32, float, float)
ILDFV_FINISH(finish_float32_float64, float, double)
#endif
#if !defined(ILDFV_PART) || ILDFV_PART == 64
ILDFV_ALL_OF(float64, DoubleTile, 4)
ILDFV_FINISH(finish_float64_float64, double, double)
#endif
#if !defined(ILDFV_PART) || ILDFV_PART == 19
ILDFV_MOMENTS(moments_tensor_resident_float32, FloatTile, true, true, true)
ILDFV_MOMENTS(moments_tensor_wide_float32, FloatTile, false, true, true)
ILDFV_MOMENTS(moments_tensor_huge_float32, FloatTile, false, false, true)
#endif

#define ILDFV_KERNELS(DO)                                                                                              \
    DO(moments_resident_float32)                                                                                       \
    DO(moments_wide_float32)                                                                                           \
    DO(moments_huge_float32)                                                                                           \
    DO(score_singles_float32)                                                                                          \
    DO(spread_singles_float32)                                                                                         \
    DO(moments_resident_float64)                                                                                       \
    DO(moments_wide_float64)                                                                                           \
    DO(moments_huge_float64) DO(score_singles_float64) DO(spread_singles_float64) DO(finish_float32_float32)           \
        DO(finish_float32_float64) DO(finish_float64_float64) DO(moments_tensor_resident_float32)                      \
            DO(moments_tensor_wide_float32) DO(moments_tensor_huge_float32)
