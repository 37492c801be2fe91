// For loops whose results must have the bits of the NumPy or SciPy functions that they replace. Include it last.
#pragma once

// No fused multiply-add: it rounds once where NumPy rounds twice, and the bytes would depend on the processor.
#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

// Compiles a function also for AVX2, with the same operations. The version is chosen when the library is loaded.
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__linux__)
#define ILDFV_ALSO_AVX2 __attribute__((target_clones("avx2", "default")))
#else
#define ILDFV_ALSO_AVX2
#endif

// Compiles a function as a part of each version of its caller.
#define ILDFV_INLINED inline __attribute__((always_inline))
