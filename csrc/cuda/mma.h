// The two products of a tile on tensor cores, with error bounds.
//
// Scores:   c − ½ Σ t² = c − ½ Σ b² − ½ Σ (a²·y² + 2ab·y) in bfloat16, each factor in two parts. This is precise enough
//           to select components whose posterior may exceed the threshold; their scores are then computed exactly
//           (`score_near`).
// Moments:  Σ γy and Σ γy² in TF32, each factor in two parts, with the precision of float. Only for means within
//           4 standard deviations of the centre, for which converting them to Σ γt and Σ γt² loses no precision.
//
// With factors in two parts, x = high + low, a product is high·high' + high·low' + low·high'. A bfloat16 part has 8
// bits, so the relative error of a product x·x' is at most 3·2^-16, and that of float sums over 64 dimensions 2^-17.
// With Σ (|ay| + |b|)² ≤ 4 Σt² + 6 Σb², the error of a score is less than SLACK·(Σt² + Σb²).
#pragma once
#include "common/mixture.h"
#include "cuda/softmax.h"
#include "cuda/tile.h"

namespace ildfv {

static __device__ constexpr float SLACK = 1.0f / 4096;  // as in kernels/cuda/launches.py

#ifdef __CUDA_ARCH__
__device__ __forceinline__ unsigned bits_of(float value) { return __float_as_uint(value); }
#else
static inline unsigned bits_of(float value) {
    unsigned bits;
    __builtin_memcpy(&bits, &value, 4);
    return bits;
}
#endif

#ifndef ILDFV_EXCHANGE  // tests/cuda/emulation.h defines its own
// Six words of every lane of a warp, readable by all lanes
struct Exchange {
    const unsigned (&words)[6];
    __device__ __forceinline__ explicit Exchange(const unsigned (&mine)[6]) : words(mine) {}
    __device__ __forceinline__ unsigned of(int lane, int word) const {
        return __shfl_sync(0xffffffffu, words[word], lane);
    }
};
#endif

enum Parts { BFLOAT16_PARTS, TF32_PARTS };  // per word, two bfloat16 values or one TF32 value

template <Parts PARTS>
__device__ __forceinline__ float dot(unsigned x, unsigned y) {
    if (PARTS == TF32_PARTS) return as_float(x) * as_float(y);
    return as_float(x << 16) * as_float(y << 16) + as_float(x & 0xffff0000u) * as_float(y & 0xffff0000u);
}

// sum (16, 8) += rows (16, depth) · columns (depth, 8) over a warp; depth 16 of bfloat16, 8 of TF32. Lane 4g + t holds:
//   sum       (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1)
//   rows      words t of g, t of g + 8, t + 4 of g, t + 4 of g + 8        columns   words t of g, t + 4 of g
template <Parts PARTS>
__device__ __forceinline__ void multiply_add(float (&sum)[4], const unsigned (&rows)[4], const unsigned (&columns)[2]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    if (PARTS == TF32_PARTS)
        asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
            : "r"(rows[0]), "r"(rows[1]), "r"(rows[2]), "r"(rows[3]), "r"(columns[0]), "r"(columns[1]));
    else
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
            : "r"(rows[0]), "r"(rows[1]), "r"(rows[2]), "r"(rows[3]), "r"(columns[0]), "r"(columns[1]));
#else
    const unsigned mine[6] = {rows[0], rows[1], rows[2], rows[3], columns[0], columns[1]};
    const Exchange all(mine);
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll 1
    for (int word = 0; word < 4; ++word)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const unsigned upper = all.of(4 * g + word, 2 * half), lower = all.of(4 * g + word, 2 * half + 1);
            const unsigned even = all.of(8 * t + word, 4 + half), odd = all.of(8 * t + 4 + word, 4 + half);
            sum[0] += dot<PARTS>(upper, even);
            sum[1] += dot<PARTS>(upper, odd);
            sum[2] += dot<PARTS>(lower, even);
            sum[3] += dot<PARTS>(lower, odd);
        }
#endif
}

// ---- factors in parts

// Two floats as bfloat16, the first in the low half, rounded to nearest
__device__ __forceinline__ unsigned bfloats(float first, float second) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    unsigned both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(second), "f"(first));
    return both;
#else
    const unsigned x = bits_of(first), y = bits_of(second);  // NaN may become 0; it is detected by the exact score
    return (x + 0x7fffu + (x >> 16 & 1)) >> 16 | ((y + 0x7fffu + (y >> 16 & 1)) & 0xffff0000u);
#endif
}

__device__ __forceinline__ unsigned tf32(float value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    unsigned rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(value));
    return rounded;
#else
    return (bits_of(value) + 0x1000u) & 0xffffe000u;
#endif
}

struct Split {
    unsigned high, low;
};

__device__ __forceinline__ Split split_bfloats(float first, float second) {
    const unsigned high = bfloats(first, second);
    return {high, bfloats(first - as_float(high << 16), second - as_float(high & 0xffff0000u))};
}

__device__ __forceinline__ Split split_tf32(float value) {
    const unsigned high = tf32(value);
    return {high, tf32(value - as_float(high))};
}

template <Parts PARTS>
__device__ __forceinline__ void multiply_add(float (&sum)[4], const Split (&rows)[4], const Split (&columns)[2]) {
    const unsigned high[4] = {rows[0].high, rows[1].high, rows[2].high, rows[3].high};
    const unsigned low[4] = {rows[0].low, rows[1].low, rows[2].low, rows[3].low};
    const unsigned right_high[2] = {columns[0].high, columns[1].high}, right_low[2] = {columns[0].low, columns[1].low};
    multiply_add<PARTS>(sum, low, right_high);
    multiply_add<PARTS>(sum, high, right_low);
    multiply_add<PARTS>(sum, high, right_high);
}

// ---- scores

// The row or component, of eight, for the lanes of group g. With rows of 4 mod 8 words, two groups that load 16 bytes
// per lane then access different banks. `gathered` is the inverse.
__device__ __forceinline__ int spread(int g) { return g / 2 + g % 2 * 4; }
__device__ __forceinline__ int gathered(int row) { return row % 4 * 2 + row / 4; }

// The first of a warp's 16 rows of the tile
template <class S>
__device__ __forceinline__ int own_rows() {
    static_assert(S::T == 16 * S::WARPS, "only one warp accesses the scores of its 16 rows");
    return threadIdx.x / 32 * 16;
}

// sum[v][·] += Σ (a²·y² + 2ab·y) over the staged dimensions, of 16 rows × components 8v … 8v + 8.
// squares, products (KC, DP): a² and 2ab; every four dimensions are eight bfloat16 values, high parts, then low parts.
template <class S>
__device__ __forceinline__ void add_screened(float (&sum)[S::KC / 8][4], const float* y, const float* squares,
                                             const float* products, int dims) {
    const int g = spread(threadIdx.x % 32 / 4), i0 = threadIdx.x % 4 * 4;
    const float* rows = y + (own_rows<S>() + g) * S::DP + i0;
    float part[S::KC / 8][4] = {};  // sums per chunk, as in add_squares
#pragma unroll 1
    for (int i = 0; i < dims; i += 16) {
        // (y_0 y_1) of rows g, g + 8, then (y_2 y_3): any order of dimensions that matches the columns
        Split linear[4], squared[4];
#pragma unroll
        for (int eight = 0; eight < 2; ++eight) {
            const Quad<float> q = quad(rows + eight * 8 * S::DP + i);
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const float u = q.v[2 * half], v = q.v[2 * half + 1];
                linear[2 * half + eight] = split_bfloats(u, v);
                squared[2 * half + eight] = split_bfloats(u * u, v * v);
            }
        }
#pragma unroll
        for (int v = 0; v < S::KC / 8; ++v) {
            const int at = (8 * v + g) * S::DP + i + i0;
            const Quad<float> p = quad(squares + at), q = quad(products + at);
            const Split with_squared[2] = {{bits_of(p.v[0]), bits_of(p.v[2])}, {bits_of(p.v[1]), bits_of(p.v[3])}};
            const Split with_linear[2] = {{bits_of(q.v[0]), bits_of(q.v[2])}, {bits_of(q.v[1]), bits_of(q.v[3])}};
            multiply_add<BFLOAT16_PARTS>(part[v], squared, with_squared);
            multiply_add<BFLOAT16_PARTS>(part[v], linear, with_linear);
        }
    }
#pragma unroll
    for (int v = 0; v < S::KC / 8; ++v)
#pragma unroll
        for (int e = 0; e < 4; ++e) sum[v][e] += part[v][e];
}

// gamma = scores of components k0 … k0 + KC; least[j] = lower bound of the best score of row g + 8j.
// base (k,) = c − ½ Σb², slack (k,) = SLACK·(2c + Σb²): the error of a score s is at most slack − 2·SLACK·s.
template <class S>
__device__ __forceinline__ void keep_screened(float* gamma, int kp, float (&least)[2], const float (&sum)[S::KC / 8][4],
                                              const float* base, const float* slack, int k0, int k, int k4) {
    const int g = spread(threadIdx.x % 32 / 4), t = threadIdx.x % 4;
#pragma unroll
    for (int v = 0; v < S::KC / 8; ++v)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
            const int comp = k0 + 8 * v + t + e % 2 * 4, row = own_rows<S>() + g + e / 2 * 8;
            if (comp >= k4) continue;
            const float score = comp < k ? base[comp] - 0.5f * sum[v][e] : 0.0f;
            gamma[(integer)row * kp + comp] = score;
            if (comp < k) least[e / 2] = fmaxf(least[e / 2], score * (1 + 2 * SLACK) - slack[comp]);
        }
}

// near (T, words): a bit for each component whose posterior may reach the threshold or affect the row's sum. Components
// more than `depth` below the best score can do neither. Returns the number of bits set in this warp's rows.
template <class S>
__device__ int choose_near(unsigned* near, int words, const float* gamma, int kp, float (&least)[2], const float* slack,
                           float depth, int k, int valid) {
    const unsigned all = 0xffffffffu;
    const int lane = threadIdx.x % 32;
    int count = 0;
#pragma unroll
    for (int eight = 0; eight < 2; ++eight) {
        least[eight] = fmaxf(least[eight], __shfl_xor_sync(all, least[eight], 1));
        least[eight] = fmaxf(least[eight], __shfl_xor_sync(all, least[eight], 2));
    }
    __syncwarp();  // all scores are written
    for (int r = 0; r < 16; ++r) {
        const float cut = __shfl_sync(all, r < 8 ? least[0] : least[1], 4 * gathered(r % 8)) - depth;
        const int row = own_rows<S>() + r;
        const float* g = gamma + (integer)row * kp;
        for (int word = 0; word < words; ++word) {
            const int comp = word * 32 + lane;
            bool is_near = false;
            if (comp < k && row < valid) is_near = !(g[comp] * (1 - 2 * SLACK) + slack[comp] < cut);  // true for NaN
            const unsigned bits = __ballot_sync(all, is_near);
            if (lane == 0) near[row * words + word] = bits;
            count += __popc(bits);
        }
    }
    __syncwarp();
    return count;
}

// gamma = c − ½ Σ t² of the near components, over the staged dimensions; the first chunk adds c.
// list: room for k numbers, used by this warp only
template <class S>
__device__ void score_near(float* gamma, int kp, const unsigned* near, int words, unsigned short* list, const float* y,
                           const float* scale, const float* shift, const float* constant, int d0, int d, bool first) {
    const unsigned all = 0xffffffffu;
    const int lane = threadIdx.x % 32, group = lane / 8, dims = d - d0 < S::DC ? d - d0 : S::DC;
    for (int r = 0; r < 16; ++r) {
        const int row = own_rows<S>() + r;
        int count = 0;
        for (int word = 0; word < words; ++word) {
            const unsigned bits = near[row * words + word];
            if (bits >> lane & 1) list[count + __popc(bits & ((1u << lane) - 1))] = (unsigned short)(word * 32 + lane);
            count += __popc(bits);
        }
        __syncwarp();
        for (int p = 0; p < count; p += 4) {  // four pairs at a time, eight lanes each
            const int comp = list[p + group < count ? p + group : count - 1];
            const integer at = (integer)comp * d + d0;
            float sum = 0;
#pragma unroll 4
            for (int i = lane % 8; i < dims; i += 8)
                sum = squares(sum, y[row * S::DP + i], scale[at + i], shift[at + i]);
            for (int step = 4; step; step /= 2) sum += __shfl_xor_sync(all, sum, step);
            float* score = gamma + (integer)row * kp + comp;
            if (lane % 8 == 0 && p + group < count) *score = (first ? constant[comp] : *score) - 0.5f * sum;
        }
        __syncwarp();  // before the list is overwritten
    }
}

// ---- moments

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
    const int comp = k0 + share.comp + g;  // and comp + 8
    float linear[EIGHTS][4] = {}, squared[EIGHTS][4] = {}, mass[2] = {};
#pragma unroll 1
    for (int r = 0; r < valid;
         r += 8) {  // γ and y are 0 from `valid` on; rows 2t, 2t + 1 for lane t: no bank conflicts
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
