// Element types of the descriptors and their conversion to float. 16-bit floats are passed as bits, which avoids a
// dependency on the CUDA toolkit's headers.
#pragma once
#include "common/elements.h"

namespace ildfv {

typedef long long integer;  // all kernel arguments have 8 bytes, so that all launchers can pack them in the same way

struct half_bits {
    unsigned short bits;
};
struct bfloat_bits {
    unsigned short bits;
};

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
static inline float widened(half_bits h) {  // computed without the conversion instruction
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

static __device__ constexpr int ELEMENT_BYTES[] = {4, 8, 2, 2, 1};

}  // namespace ildfv
