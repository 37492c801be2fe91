// One block's work on a tile of descriptors: stage it, score it, turn scores into posteriors, add moments.
//
// A tile is T descriptors. Parameters and descriptors pass through shared memory in chunks of DC dimensions and KC
// components, so that any d and k fit; where one chunk holds everything it is staged once. Rows of all shared arrays
// are padded to 4 mod 8 words: eight neighbouring rows then fall in eight different groups of four banks.
#pragma once
#include "common/mixture.h"

#ifndef ILDFV_SHARED_MEMORY  // the emulation under tests/cuda brings its own
#define ILDFV_SHARED_MEMORY(name) extern __shared__ __align__(16) unsigned char name[]
#endif

namespace ildfv {

typedef long long integer;  // every kernel argument is 8 bytes: one way to pack them, whoever launches

// ---- types of descriptors: 16-bit floats travel as their bits, so that no toolkit header is needed

struct half_bits { unsigned short bits; };
struct bfloat_bits { unsigned short bits; };

#ifdef __CUDA_ARCH__
__device__ __forceinline__ float as_float(unsigned bits) { return __uint_as_float(bits); }
__device__ __forceinline__ float widened(half_bits h) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(h.bits));
    return value;
}
#else
static inline float as_float(unsigned bits) {
    float value;
    __builtin_memcpy(&value, &bits, 4);
    return value;
}
static inline float widened(half_bits h) {  // the same without the instruction
    const unsigned sign = (h.bits & 0x8000u) << 16, exponent = (h.bits >> 10) & 31u, fraction = h.bits & 1023u;
    if (exponent == 0) {
        const float value = (float)fraction * 5.9604644775390625e-8f;  // 2^-24
        return sign ? -value : value;
    }
    return as_float(sign | ((exponent == 31 ? 255u : exponent + 112u) << 23) | (fraction << 13));
}
#endif
__device__ __forceinline__ float widened(bfloat_bits h) { return as_float((unsigned)h.bits << 16); }
__device__ __forceinline__ float widened(float value) { return value; }
__device__ __forceinline__ double widened(double value) { return value; }
__device__ __forceinline__ float widened(unsigned char value) { return (float)value; }

// exp of a score below its row's largest: the fast one's relative error grows as |x| does, just where the result fades
__device__ __forceinline__ float posterior_exp(float x) { return __expf(x); }
__device__ __forceinline__ double posterior_exp(double x) { return exp(x); }
__device__ __forceinline__ float larger(float a, float b) { return fmaxf(a, b); }
__device__ __forceinline__ double larger(double a, double b) { return fmax(a, b); }
__device__ __forceinline__ float minus_infinity(float) { return as_float(0xff800000u); }
__device__ __forceinline__ double minus_infinity(double) { return (double)as_float(0xff800000u); }

template <class real>
struct alignas(16) Quad {
    real v[4];
};

template <class real>
__device__ __forceinline__ Quad<real> quad(const real* at) {
    return *reinterpret_cast<const Quad<real>*>(at);
}

__device__ __forceinline__ int padded(int count) { return ((count + 7) & ~7) + 4; }

// ---- the shape of a tile

template <class real_, int T_, int KC_, int DC_>
struct Tile {
    typedef real_ real;
    static constexpr int T = T_, KC = KC_, DC = DC_;
    static constexpr int THREADS = T * KC / 16;  // 4 descriptors × 4 components each
    static constexpr int WARPS = THREADS / 32;
    static constexpr int BLOCKS = sizeof(real) == 4 ? 3 : 2;  // a multiprocessor: at most 168 or 255 registers a thread
    static constexpr int DP = DC + 4;             // row length of staged arrays
    static constexpr int SEGMENTS = T / 32;       // 32 descriptors a word of activity bits
    static constexpr int QUADS = DC / 4;          // a warp's share of the moments: QUADS × 4 dimensions,
    static constexpr int JOB = 4 * (32 / QUADS);  // JOB components
    static constexpr int LANE_DIMS = DC / 32;
    static_assert(T % 32 == 0 && KC % JOB == 0 && DC % 32 == 0 && DC <= 128 && THREADS % 32 == 0, "tile shape");
    static_assert(JOB * SEGMENTS <= 32, "one lane a word of activity");
};

// What a descriptor is made of: one kernel serves all, they differ only where a value is read
enum Element { FLOAT32 = 0, FLOAT64 = 1, FLOAT16 = 2, BFLOAT16 = 3, UINT8 = 4 };
static __device__ constexpr int ELEMENT_BYTES[] = {4, 8, 2, 2, 1};

// Where the descriptors of one piece lie: row r, dimension j is element r·row_stride + j·dim_stride
struct Rows {
    const void* data;
    int element;
    integer row_stride, dim_stride;
    template <class In>
    __device__ __forceinline__ auto at(integer row, int dim) const {
        return widened(static_cast<const In*>(data)[row * row_stride + dim * dim_stride]);
    }
};

// Neighbouring lanes read neighbouring addresses. Where dimensions are neighbours, a thread keeps its dimension and walks
// down the rows; …
template <class S, class In>
__device__ __forceinline__ void stage_by_dims(typename S::real* y, Rows x, integer first, int valid, int d0, int d,
                                              const typename S::real* centre) {
    typedef typename S::real real;
    constexpr int STEP = S::THREADS / S::DC, BATCH = 8;  // loads in flight before the first use
    static_assert(S::THREADS % S::DC == 0 && S::T % (STEP * BATCH) == 0, "whole batches");
    const int dim = threadIdx.x % S::DC, row = threadIdx.x / S::DC;
    const bool inside = d0 + dim < d;
    const real c = inside ? centre[d0 + dim] : (real)0;
    const In* from = static_cast<const In*>(x.data) + (first + row) * x.row_stride + (d0 + dim) * x.dim_stride;
    real* to = y + row * S::DP + dim;
#pragma unroll 1
    for (int r = row; r < S::T + row; r += STEP * BATCH) {
        real value[BATCH];
#pragma unroll
        for (int j = 0; j < BATCH; ++j) {
            value[j] = 0;
            if (inside && r + j * STEP < valid) value[j] = (real)widened(from[j * STEP * x.row_stride]) - c;
        }
#pragma unroll
        for (int j = 0; j < BATCH; ++j) to[j * STEP * S::DP] = value[j];
        from += BATCH * STEP * x.row_stride;
        to += BATCH * STEP * S::DP;
    }
}

// … in a channel-first map a warp takes 8 rows × 4 dimensions, whole sectors each, stored without bank conflicts, and
// walks along the dimensions.
template <class S, class In>
__device__ __forceinline__ void stage_by_rows(typename S::real* y, Rows x, integer first, int valid, int d0, int d,
                                              const typename S::real* centre) {
    typedef typename S::real real;
    constexpr int LINES = S::T / 8 / S::WARPS, BATCH = 4;
    static_assert(S::T % (8 * S::WARPS) == 0 && S::DC % (4 * BATCH) == 0, "whole batches");
    const int row = threadIdx.x / 32 * 8 + threadIdx.x % 8, column = threadIdx.x % 32 / 8;
    const In* from = static_cast<const In*>(x.data) + (first + row) * x.row_stride + (d0 + column) * x.dim_stride;
    real* to = y + row * S::DP + column;
#pragma unroll 1
    for (int dim = column; dim < S::DC; dim += 4 * BATCH) {
        real value[BATCH][LINES];
#pragma unroll
        for (int j = 0; j < BATCH; ++j) {
            const bool inside = d0 + dim + 4 * j < d;
            const real c = inside ? centre[d0 + dim + 4 * j] : (real)0;
#pragma unroll
            for (int line = 0; line < LINES; ++line) {
                value[j][line] = 0;
                if (inside && row + line * 8 * S::WARPS < valid)
                    value[j][line] =
                        (real)widened(from[4 * j * x.dim_stride + line * 8 * S::WARPS * x.row_stride]) - c;
            }
        }
#pragma unroll
        for (int j = 0; j < BATCH; ++j)
#pragma unroll
            for (int line = 0; line < LINES; ++line) to[4 * j + line * 8 * S::WARPS * S::DP] = value[j][line];
        from += 4 * BATCH * x.dim_stride;
        to += 4 * BATCH;
    }
}

template <class S, class In>
__device__ __forceinline__ void stage_rows_of(typename S::real* y, Rows x, integer first, int valid, int d0, int d,
                                              const typename S::real* centre) {
    if (x.dim_stride == 1)
        stage_by_dims<S, In>(y, x, first, valid, d0, d, centre);
    else
        stage_by_rows<S, In>(y, x, first, valid, d0, d, centre);
}

// y = x − centre for T rows from `first`, dimensions d0 … d0 + DC, zero outside.  (T, DP)
template <class S>
__device__ void stage_rows(typename S::real* y, Rows x, integer first, int valid, int d0, int d,
                           const typename S::real* centre) {
    if (sizeof(typename S::real) == 8) return stage_rows_of<S, double>(y, x, first, valid, d0, d, centre);
    switch (x.element) {
        case FLOAT32: return stage_rows_of<S, float>(y, x, first, valid, d0, d, centre);
        case FLOAT16: return stage_rows_of<S, half_bits>(y, x, first, valid, d0, d, centre);
        case BFLOAT16: return stage_rows_of<S, bfloat_bits>(y, x, first, valid, d0, d, centre);
        case UINT8: return stage_rows_of<S, unsigned char>(y, x, first, valid, d0, d, centre);
    }
}

// One value, where speed does not depend on it
template <class S>
__device__ __forceinline__ typename S::real value_at(Rows x, integer row, int dim) {
    typedef typename S::real real;
    if (sizeof(real) == 8) return (real)x.at<double>(row, dim);
    switch (x.element) {
        case FLOAT16: return (real)x.at<half_bits>(row, dim);
        case BFLOAT16: return (real)x.at<bfloat_bits>(row, dim);
        case UINT8: return (real)x.at<unsigned char>(row, dim);
        default: return (real)x.at<float>(row, dim);
    }
}

// a and b of components k0 … k0 + KC, dimensions d0 … d0 + DC, zero outside.  (KC, DP) each
template <class S>
__device__ void stage_parameters(typename S::real* a, typename S::real* b, const typename S::real* scale,
                                 const typename S::real* shift, int k0, int k, int d0, int d) {
    typedef typename S::real real;
    constexpr int STEP = S::THREADS / S::DC, BATCH = 4;
    static_assert(S::KC % (STEP * BATCH) == 0, "whole batches");
    const int dim = threadIdx.x % S::DC, comp = threadIdx.x / S::DC;
    const bool inside = d0 + dim < d;
    const integer start = (integer)(k0 + comp) * d + d0 + dim;
    const real *from_scale = scale + start, *from_shift = shift + start;
    const int left = inside ? k - k0 - comp : 0;  // components from this thread's first
    real *to_a = a + comp * S::DP + dim, *to_b = b + comp * S::DP + dim;
#pragma unroll 1
    for (int c = 0; c < S::KC; c += STEP * BATCH) {
        real as[BATCH], bs[BATCH];
#pragma unroll
        for (int j = 0; j < BATCH; ++j) {
            as[j] = bs[j] = 0;
            if (c + j * STEP < left) as[j] = from_scale[j * STEP * d], bs[j] = from_shift[j * STEP * d];
        }
#pragma unroll
        for (int j = 0; j < BATCH; ++j) to_a[j * STEP * S::DP] = as[j], to_b[j * STEP * S::DP] = bs[j];
        from_scale += STEP * BATCH * d, from_shift += STEP * BATCH * d;
        to_a += STEP * BATCH * S::DP, to_b += STEP * BATCH * S::DP;
    }
}

// This thread's 4 × 4 corner of the tile: descriptors row + j·T/4 and components comp + c·KC/4.
// A warp covers 8 descriptors × 4 components: every shared load below is free of bank conflicts.
template <class S>
struct Corner {
    int row, comp;
    __device__ __forceinline__ Corner() {
        constexpr int ROW_WARPS = S::T / 4 / 8;
        const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
        row = lane % 8 + 8 * (warp % ROW_WARPS);
        comp = lane / 8 + 4 * (warp / ROW_WARPS);
    }
};

// sum[j][c] += Σ t² over the staged dimensions
template <class S>
__device__ __forceinline__ void add_squares(typename S::real (&sum)[4][4], Corner<S> corner, const typename S::real* y,
                                            const typename S::real* a, const typename S::real* b, int dims) {
    typedef typename S::real real;
    real part[4][4] = {};  // a chunk's own sum first: blocked summation keeps d = 4096 accurate
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

// Scores (T, kp) become posteriors, in place; those below the threshold and rows past `valid` become 0.
// log_likelihood += Σ log Σ_k exp(score) over the rows this thread answers for.
template <class S>
__device__ void soften(typename S::real* gamma, int kp, int k, int valid, typename S::real threshold,
                       double& log_likelihood) {
    typedef typename S::real real;
    const unsigned all = 0xffffffffu;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    for (int eight = warp; eight < S::T / 8; eight += S::WARPS) {  // a warp: 8 rows, 4 lanes each
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
        const real inverse = 1 / total;
        for (int c = part; c < k; c += 4) {
            const real p = g[c] * inverse;
            g[c] = row < valid && p >= threshold ? p : (real)0;
        }
        if (part == 0 && row < valid) log_likelihood += (double)top + (double)log(total);
    }
}

// s0 += Σ γ and one bit per descriptor with γ > 0, for each component and each 32 descriptors.  (SEGMENTS, k4) each
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

// s1 += Σ γt, s2 += Σ γt² of the staged chunk.  s1, s2: (k, d), in shared or device memory, ours alone
template <class S>
__device__ void add_moments(typename S::real* s1, typename S::real* s2, const typename S::real* y,
                            const typename S::real* a, const typename S::real* b, const typename S::real* gamma,
                            int kp, const unsigned* active, int k4, int k0, int k, int d0, int d, int valid,
                            bool first) {
    typedef typename S::real real;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    for (int job = warp; job < S::KC / S::JOB && k0 + job * S::JOB < k; job += S::WARPS) {  // the same for a whole warp
        const int c0 = job * S::JOB;  // within the chunk
        int count = 0;
        if (lane < S::JOB * S::SEGMENTS && k0 + c0 + lane % S::JOB < k)
            count = __popc(active[lane / S::JOB * k4 + k0 + c0 + lane % S::JOB]);
        for (int step = 16; step; step /= 2) count += __shfl_xor_sync(0xffffffffu, count, step);
        if (2 * count > S::JOB * valid) {  // most posteriors count: all of them, 4 components × 4 dimensions a lane
            const int c = c0 + lane / S::QUADS * 4, i = lane % S::QUADS * 4;
            if (k0 + c >= k || d0 + i >= d) continue;  // nothing below waits for other lanes
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
        } else {  // few count: component by component, only the descriptors with their bit set
            for (int c = c0; c < c0 + S::JOB && k0 + c < k; ++c) {
                real m1[S::LANE_DIMS] = {}, m2[S::LANE_DIMS] = {}, as[S::LANE_DIMS], bs[S::LANE_DIMS];
                unsigned any = 0;
#pragma unroll
                for (int e = 0; e < S::LANE_DIMS; ++e)
                    as[e] = a[c * S::DP + lane + 32 * e], bs[e] = b[c * S::DP + lane + 32 * e];
                for (int segment = 0; segment < S::SEGMENTS; ++segment) {
                    unsigned bits = active[segment * k4 + k0 + c];
                    any |= bits;
                    for (; bits; bits &= bits - 1) {
                        const int r = segment * 32 + __ffs(bits) - 1;
                        const real g = gamma[(integer)r * kp + k0 + c];
#pragma unroll
                        for (int e = 0; e < S::LANE_DIMS; ++e) {
                            const real t = standardised(y[r * S::DP + lane + 32 * e], as[e], bs[e]), gt = g * t;
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
