// moments on the GPU: one pass over the descriptors in device memory, nothing of size n·k written.
//
// A block takes one piece of a slice (some hundred descriptors) tile by tile: scores, posteriors and moments never leave
// it (tiles.h); what it writes are the piece's sums. `finish` adds pieces in float64, in order. Which descriptors make
// up a piece depends on n and k alone: a slice's bits are the same in any batch on any number of multiprocessors.
//
// The same text is compiled by NVRTC (CuPy's RawModule), by nvcc (launch.cu) and, for tests, by a C++ compiler.
#include "cuda/tensor.h"

namespace ildfv {

template <class real>
struct Mixture {
    const real *centre, *scale, *shift, *constant;  // (d,), (k, d), (k, d), (k,): a, b, c of mixture.h
    int d, k;
    const real *squares, *products, *base, *slack;  // (k, d4), (k, d4), (k,), (k,): see tensor.h, which alone reads them
    bool close;                                     // all means within 4 standard deviations of the centre
};

// What shared memory holds of descriptors and parameters at present. Bringing in something else waits for whoever still
// reads the old; all threads of a block ask for the same.
template <class S>
struct Staged {
    typedef typename S::real real;
    real *y, *a, *b;  // (T, DP), (KC, DP), (KC, DP)
    int rows_d0 = -1, k0 = -1, d0 = -1;
    const real* from = nullptr;

    __device__ __forceinline__ void bring(Rows x, integer start, int valid, const Mixture<real>& m, const real* first,
                                          const real* second, int width, int want_k0, int want_d0) {
        const bool rows = rows_d0 != want_d0, parameters = first && (from != first || k0 != want_k0 || d0 != want_d0);
        if (!rows && !parameters) return;
        __syncthreads();
        if (rows) stage_rows<S>(y, x, start, valid, want_d0, m.d, m.centre);
        if (parameters) stage_parameters<S>(a, b, first, second, want_k0, m.k, want_d0, width);
        __syncthreads();
        rows_d0 = want_d0;
        if (parameters) from = first, k0 = want_k0, d0 = want_d0;
    }
};

// The sums of one piece. SUMS_SHARED: s1 and s2 grow in shared memory, else in place. GAMMA_SHARED: so do posteriors,
// else in `scratch`, T·kp reals for each block (k so large that they do not fit). TENSOR: products on tensor cores.
template <class S, bool SUMS_SHARED, bool GAMMA_SHARED, bool TENSOR>
__device__ void moments_of(Rows x, integer rows, Mixture<typename S::real> m, typename S::real threshold,
                           typename S::real* s0, typename S::real* s1, typename S::real* s2, double* log_likelihood,
                           typename S::real* scratch) {
    typedef typename S::real real;
    const int d = m.d, k = m.k, k4 = (k + 3) & ~3, kp = padded(k), words = (k + 31) / 32;
    ILDFV_SHARED_MEMORY(memory);
    real* y = reinterpret_cast<real*>(memory);                             // (T, DP)
    real* a = y + S::T * S::DP;                                            // (KC, DP)
    real* b = a + S::KC * S::DP;                                           // (KC, DP)
    real* own_s0 = b + S::KC * S::DP;                                      // (SEGMENTS, k4)
    unsigned* active = reinterpret_cast<unsigned*>(own_s0 + S::SEGMENTS * k4);  // (SEGMENTS, k4)
    unsigned* near = active + S::SEGMENTS * k4;                            // (T, words)
    unsigned* counts = near + (TENSOR ? S::T * words : 0);                 // (WARPS,)
    unsigned* lists = counts + (TENSOR ? S::WARPS : 0);                    // (WARPS, k4) of 16 bits
    real* rest = reinterpret_cast<real*>(lists + (TENSOR ? S::WARPS * k4 / 2 : 0));
    real* gamma = GAMMA_SHARED ? rest : scratch;                           // (T, kp)
    real* own_s1 = SUMS_SHARED ? rest + (GAMMA_SHARED ? S::T * kp : 0) : s1;  // (k, d)
    real* own_s2 = SUMS_SHARED ? own_s1 + k * d : s2;                      // (k, d)

    const Corner<S> corner;
    const int last_d = (d - 1) / S::DC * S::DC, last_k = (k - 1) / S::KC * S::KC;
    Staged<S> staged{y, a, b};
    bool screening = TENSOR;
    double own_log_likelihood = 0;

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
                        staged.bring(x, start, valid, m, m.squares, m.products, (d + 3) & ~3, k0, d0);
                        add_screened<S>(sum, y, a, b, d - d0 < S::DC ? d - d0 : S::DC);
                    }
                    keep_screened<S>(gamma, kp, least, sum, m.base, m.slack, k0, k, k4);
                }
                const float depth = fmaxf(fmaxf(17.0f, 12.5f + log((float)k)), 0.01f - log(threshold));  // k · e^-depth is lost in a float sum
                const int found = choose_near<S>(near, words, gamma, kp, least, m.slack, depth, k, valid);
                if (threadIdx.x % 32 == 0) counts[warp] = found;
                unsigned short* list = reinterpret_cast<unsigned short*>(lists) + warp * k4;
                for (int d0 = last_d; d0 >= 0; d0 -= S::DC) {
                    staged.bring(x, start, valid, m, nullptr, nullptr, d, 0, d0);
                    score_near<S>(gamma, kp, near, words, list, y, m.scale, m.shift, m.constant, d0, d, d0 == last_d);
                }
            }
        }
        if (!screening)
            for (int k0 = 0; k0 < k; k0 += S::KC) {  // score = c − ½ Σ t²
                real sum[4][4] = {};
                for (int d0 = 0; d0 < d; d0 += S::DC) {
                    staged.bring(x, start, valid, m, m.scale, m.shift, d, k0, d0);
                    add_squares<S>(sum, corner, y, a, b, d - d0 < S::DC ? d - d0 : S::DC);
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
        __syncthreads();
        if (screening && TENSOR) {  // where many components are near, screening costs more than it saves: no more of it
            unsigned found = 0;
            for (int warp = 0; warp < S::WARPS; ++warp) found += counts[warp];
            screening = 4 * found <= (unsigned)(valid * k);
        }
        soften<S>(gamma, kp, k, valid, threshold, own_log_likelihood);
        __syncthreads();
        mark<S>(own_s0, active, gamma, kp, k, k4, first);
        __syncthreads();
        // Backwards through the chunks: the scores left the last one where it is needed first.
        for (int d0 = last_d; d0 >= 0; d0 -= S::DC)
            for (int k0 = last_k; k0 >= 0; k0 -= S::KC) {
                staged.bring(x, start, valid, m, m.scale, m.shift, d, k0, d0);
                if constexpr (TENSOR) {
                    if (m.close && mostly_active<S>(active, k4, k0, k, valid)) {
                        add_moments_by_products<S>(own_s1, own_s2, y, a, b, gamma, kp, k0, k, d0, d, valid, first);
                        continue;
                    }
                }
                add_moments<S>(own_s1, own_s2, y, a, b, gamma, kp, active, k4, k0, k, d0, d, valid, first);
            }
    }

    __syncthreads();
    if (SUMS_SHARED)
        for (int i = threadIdx.x; i < k * d; i += S::THREADS) s1[i] = own_s1[i], s2[i] = own_s2[i];
    for (int c = threadIdx.x; c < k; c += S::THREADS) {
        real sum = 0;
        for (int segment = 0; segment < S::SEGMENTS; ++segment) sum += own_s0[segment * k4 + c];
        s0[c] = sum;
    }
    double* shares = reinterpret_cast<double*>(y);  // y has been read for the last time
    shares[threadIdx.x] = own_log_likelihood;
    __syncthreads();
    if (threadIdx.x < 32) {
        double sum = 0;
        for (int i = threadIdx.x; i < S::THREADS; i += 32) sum += shares[i];
        for (int step = 16; step; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
        if (threadIdx.x == 0) *log_likelihood = sum;
    }
}

// Scores of T single descriptors over one chunk of dimensions: partial (chunks, b, k). n = 1, as fc6 gives it.
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

// Posteriors and moments of SINGLES slices of one descriptor each, one chunk of dimensions. Blocks with blockIdx.y = 0
// also write s0 and the log likelihood.
template <class S, int SINGLES>
__device__ void spread_singles(Rows x, integer b, Mixture<typename S::real> m, typename S::real threshold,
                               const typename S::real* partial, int chunks, typename S::real* s0,
                               typename S::real* s1, typename S::real* s2, double* log_likelihood) {
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
        const real inverse = 1 / total;
        for (int c = lane; c < k; c += 32) {
            const real p = g[c] * inverse;
            g[c] = p >= threshold ? p : (real)0;
            if (blockIdx.y == 0) s0[(start + r) * k + c] = g[c];
        }
        if (blockIdx.y == 0 && lane == 0) log_likelihood[start + r] = (double)top + (double)log(total);
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

// out[group] = Σ of the group's pieces, in order, in float64. Element i of a piece: s0, then s1, then s2, then log likelihood.
// Group g holds pieces g·each … (g + 1)·each, or edges[g] … edges[g + 1].
template <class From, class To>
__device__ void finish(const From* s0, const From* s1, const From* s2, const double* log_likelihood, To* to_s0,
                       To* to_s1, To* to_s2, double* to_log_likelihood, integer d, integer k, integer pieces,
                       integer each, const integer* edges) {
    const integer i = (integer)blockIdx.y * blockDim.x + threadIdx.x, group = blockIdx.x, kd = k * d;
    if (i > k + 2 * kd) return;
    const integer start = edges ? edges[group] : group * each, stop = edges ? edges[group + 1] : start + each;
    const integer end = stop < pieces ? stop : pieces;
    double sum = 0;
    if (i == k + 2 * kd) {
        for (integer piece = start; piece < end; ++piece) sum += log_likelihood[piece];
        to_log_likelihood[group] = sum;
        return;
    }
    const integer size = i < k ? k : kd, j = i < k ? i : i < k + kd ? i - k : i - k - kd;
    const From* from = i < k ? s0 : i < k + kd ? s1 : s2;
    To* to = i < k ? to_s0 : i < k + kd ? to_s1 : to_s2;
#pragma unroll 4
    for (integer piece = start; piece < end; ++piece) sum += (double)from[piece * size + j];
    to[group * size + j] = (To)sum;
}

}  // namespace ildfv

using namespace ildfv;

// Tiles: 64 descriptors × 32 components × 64 dimensions; half the dimensions in double, to fit 64 KB with it.
typedef Tile<float, 64, 32, 64> FloatTile;
typedef Tile<double, 64, 32, 32> DoubleTile;

// Uniform slices: piece p is descriptors (p mod splits)·piece_rows … of slice p / splits, n in all.
// Ragged ones: `pieces` lists (address, descriptors, row stride, dimension stride) of each.
// With tensor cores two blocks share a multiprocessor: from 256 components on, shared memory has room for no more.
#define ILDFV_MOMENTS(NAME, TILE, SUMS, GAMMA, TENSOR)                                                                 \
    extern "C" __global__ void __launch_bounds__(TILE::THREADS, TENSOR ? 2 : TILE::BLOCKS)                             \
        NAME(const unsigned char* x, integer element, const integer* pieces, integer first_piece, integer n,           \
             integer splits, integer piece_rows, integer slice_stride, integer row_stride, integer dim_stride,         \
             integer d, integer k, const TILE::real* centre, const TILE::real* scale, const TILE::real* shift,         \
             const TILE::real* constant, const TILE::real* squares, const TILE::real* products,                        \
             const TILE::real* base, const TILE::real* slack, integer close, double threshold, TILE::real* s0,         \
             TILE::real* s1, TILE::real* s2, double* log_likelihood, TILE::real* scratch) {                            \
        const integer piece = first_piece + blockIdx.x, start = piece % splits * piece_rows, left = n - start;         \
        const integer offset = piece / splits * slice_stride + start * row_stride;                                     \
        const integer* listed = pieces + 4 * piece;                                                                    \
        Rows data = {x + offset * ELEMENT_BYTES[element], (int)element, row_stride, dim_stride};                       \
        if (pieces) data = {reinterpret_cast<const void*>(listed[0]), (int)element, listed[2], listed[3]};             \
        const integer rows = pieces ? listed[1] : left < piece_rows ? left : piece_rows;                               \
        moments_of<TILE, SUMS, GAMMA, TENSOR>(                                                                         \
            data, rows,                                                                                                \
            {centre, scale, shift, constant, (int)d, (int)k, squares, products, base, slack, close != 0},              \
            (TILE::real)threshold, s0 + piece * k, s1 + piece * k * d, s2 + piece * k * d, log_likelihood + piece,     \
            scratch + (integer)blockIdx.x * TILE::T * padded((int)k));                                                 \
    }

// One descriptor a slice, element b·row_stride on; in two steps, so that few slices with many dimensions still fill
// the device.
#define ILDFV_SINGLES(REAL, TILE, SINGLES)                                                                             \
    extern "C" __global__ void __launch_bounds__(TILE::THREADS, 4)                                                     \
        score_singles_##REAL(const void* x, integer element, integer b, integer row_stride, integer dim_stride,        \
                             integer d, integer k, const TILE::real* centre, const TILE::real* scale,                  \
                             const TILE::real* shift, TILE::real* partial) {                                           \
        score_singles<TILE>({x, (int)element, row_stride, dim_stride}, b,                                              \
                            {centre, scale, shift, nullptr, (int)d, (int)k}, partial);                                 \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(TILE::THREADS, 4)                                                     \
        spread_singles_##REAL(const void* x, integer element, integer b, integer row_stride, integer dim_stride,       \
                              integer d, integer k, const TILE::real* centre, const TILE::real* scale,                 \
                              const TILE::real* shift, const TILE::real* constant, double threshold,                   \
                              const TILE::real* partial, integer chunks, TILE::real* s0, TILE::real* s1,               \
                              TILE::real* s2, double* log_likelihood) {                                                \
        spread_singles<TILE, SINGLES>({x, (int)element, row_stride, dim_stride}, b,                                    \
                                      {centre, scale, shift, constant, (int)d, (int)k}, (TILE::real)threshold,         \
                                      partial, (int)chunks, s0, s1, s2, log_likelihood);                               \
    }

#define ILDFV_ALL_OF(REAL, TILE, SINGLES)                           \
    ILDFV_MOMENTS(moments_resident_##REAL, TILE, true, true, false) \
    ILDFV_MOMENTS(moments_wide_##REAL, TILE, false, true, false)    \
    ILDFV_MOMENTS(moments_huge_##REAL, TILE, false, false, false)   \
    ILDFV_SINGLES(REAL, TILE, SINGLES)

#define ILDFV_FINISH(NAME, FROM, TO)                                                                                   \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        NAME(const FROM* s0, const FROM* s1, const FROM* s2, const double* log_likelihood, TO* to_s0, TO* to_s1,       \
             TO* to_s2, double* to_log_likelihood, integer d, integer k, integer pieces, integer each,                 \
             const integer* edges) {                                                                                   \
        finish<FROM, TO>(s0, s1, s2, log_likelihood, to_s0, to_s1, to_s2, to_log_likelihood, d, k, pieces, each,       \
                         edges);                                                                                       \
    }

// ILDFV_PART = 32, 64 or 19 (TF32 has 19 bits) leaves out the others: a kernel compiled at first use should not wait for what
// is not used.
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

#define ILDFV_KERNELS(DO)                                                                                          \
    DO(moments_resident_float32) DO(moments_wide_float32) DO(moments_huge_float32)                                 \
    DO(score_singles_float32) DO(spread_singles_float32)                                                           \
    DO(moments_resident_float64) DO(moments_wide_float64) DO(moments_huge_float64)                                 \
    DO(score_singles_float64) DO(spread_singles_float64)                                                           \
    DO(finish_float32_float32) DO(finish_float32_float64) DO(finish_float64_float64)                               \
    DO(moments_tensor_resident_float32) DO(moments_tensor_wide_float32) DO(moments_tensor_huge_float32)
