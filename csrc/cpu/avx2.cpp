// The kernel for x86-64 with avx2.
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,bmi,bmi2,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,bmi,bmi2,f16c")
#endif
#define ILDFV_VECTOR_BYTES 32
#include "kernel.h"

namespace ildfv {
extern const Kernel avx2_float = kernel<float>("avx2"), avx2_double = kernel<double>("avx2");
}  // namespace ildfv
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
