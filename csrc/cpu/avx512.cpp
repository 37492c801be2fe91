// The kernel for x86-64 with avx512.
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,bmi,bmi2,f16c"))),     \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,bmi,bmi2,f16c")
#endif
#define ILDFV_VECTOR_BYTES 64
#include "kernel.h"

namespace ildfv {
extern const Kernel avx512_float = kernel<float>("avx512"), avx512_double = kernel<double>("avx512");
}  // namespace ildfv
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
