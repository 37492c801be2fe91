// Matrix products of a warp on tensor cores, with factors in two parts.
//
// With x = high + low, a product is high·high' + high·low' + low·high'. screened.h uses bfloat16 parts for scores, and
// products.h TF32 parts for moments.
#pragma once
#include "common/mixture.h"
#include "cuda/softmax.h"
#include "cuda/tile.h"

namespace ildfv {

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
    const unsigned x = bits_of(first), y = bits_of(second);  // NaN may become 0 here; exact scores detect it
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

}  // namespace ildfv
