// Vectors of `real` for the instruction set of the including file, with the compiler's vector extension.
#pragma once

#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ildfv {
namespace {

template <class real>
struct Lanes;

template <>
struct Lanes<float> {
    static constexpr int count = ILDFV_VECTOR_BYTES / 4;
    typedef float vector __attribute__((vector_size(ILDFV_VECTOR_BYTES)));
    typedef int32_t integers __attribute__((vector_size(ILDFV_VECTOR_BYTES)));
    typedef uint32_t unsigneds __attribute__((vector_size(ILDFV_VECTOR_BYTES)));
    static inline integers iota() {
        integers v;
        for (int i = 0; i < count; ++i) v[i] = i;
        return v;
    }
};

template <>
struct Lanes<double> {
    static constexpr int count = ILDFV_VECTOR_BYTES / 8;
    typedef double vector __attribute__((vector_size(ILDFV_VECTOR_BYTES)));
    typedef int64_t integers __attribute__((vector_size(ILDFV_VECTOR_BYTES)));
    typedef uint64_t unsigneds __attribute__((vector_size(ILDFV_VECTOR_BYTES)));
    static inline integers iota() {
        integers v;
        for (int i = 0; i < count; ++i) v[i] = i;
        return v;
    }
};

template <class real>
using vec = typename Lanes<real>::vector;

template <class real>
inline vec<real> load(const real* p) {
    vec<real> v;
    memcpy(&v, p, sizeof v);
    return v;
}

template <class real>
inline void store(real* p, vec<real> v) {
    memcpy(p, &v, sizeof v);
}

template <class real>
inline vec<real> all(real value) {
    return value - vec<real>{};
}

// The smallest positive normal number. Subnormal ones equal 0 if another library, such as torch, has set the processor
// to flush them.
template <class real>
constexpr real smallest() {
    return sizeof(real) == 4 ? (real)1.17549435082228750797e-38 : (real)2.2250738585072014e-308;
}

// a > b ? a : b, lane by lane; b if one of them is NaN. gcc 12 does not always compile this expression to one
// instruction.
inline vec<float> larger(vec<float> a, vec<float> b) {
#if defined(__x86_64__) && ILDFV_VECTOR_BYTES == 64
    return (vec<float>)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__x86_64__) && ILDFV_VECTOR_BYTES == 32
    return (vec<float>)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return a > b ? a : b;
#endif
}
inline vec<double> larger(vec<double> a, vec<double> b) { return a > b ? a : b; }

// One bit per lane, from the result of a comparison.
template <class M>
inline unsigned bits(M mask) {
    unsigned result = 0;
    for (unsigned i = 0; i < sizeof mask / sizeof mask[0]; ++i) result |= (unsigned)(mask[i] & 1) << i;
    return result;
}

#if defined(__x86_64__) && ILDFV_VECTOR_BYTES == 64
inline unsigned bits(Lanes<float>::integers mask) { return _mm512_movepi32_mask((__m512i)mask); }
inline unsigned bits(Lanes<double>::integers mask) { return _mm512_movepi64_mask((__m512i)mask); }
#elif defined(__x86_64__) && ILDFV_VECTOR_BYTES == 32
inline unsigned bits(Lanes<float>::integers mask) { return (unsigned)_mm256_movemask_ps((__m256)mask); }
inline unsigned bits(Lanes<double>::integers mask) { return (unsigned)_mm256_movemask_pd((__m256d)mask); }
#endif

// One bit per lane where a ≥ b.
template <class V>
inline unsigned at_least(V a, V b) {
#if defined(__x86_64__) && ILDFV_VECTOR_BYTES == 64  // one instruction; gcc 12 compiles the comparison to three
    if constexpr (sizeof a[0] == 4)
        return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GE_OQ);
    else
        return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_GE_OQ);
#else
    return bits(a >= b);
#endif
}
// x0 y0 x1 y1 … of the lower or the upper halves.
inline vec<float> interleave_lower(vec<float> x, vec<float> y) {
#if ILDFV_VECTOR_BYTES == 64
    return __builtin_shufflevector(x, y, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
#elif ILDFV_VECTOR_BYTES == 32
    return __builtin_shufflevector(x, y, 0, 8, 1, 9, 2, 10, 3, 11);
#else
    return __builtin_shufflevector(x, y, 0, 4, 1, 5);
#endif
}
inline vec<float> interleave_upper(vec<float> x, vec<float> y) {
#if ILDFV_VECTOR_BYTES == 64
    return __builtin_shufflevector(x, y, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#elif ILDFV_VECTOR_BYTES == 32
    return __builtin_shufflevector(x, y, 4, 12, 5, 13, 6, 14, 7, 15);
#else
    return __builtin_shufflevector(x, y, 2, 6, 3, 7);
#endif
}
inline vec<double> interleave_lower(vec<double> x, vec<double> y) {
#if ILDFV_VECTOR_BYTES == 64
    return __builtin_shufflevector(x, y, 0, 8, 1, 9, 2, 10, 3, 11);
#elif ILDFV_VECTOR_BYTES == 32
    return __builtin_shufflevector(x, y, 0, 4, 1, 5);
#else
    return __builtin_shufflevector(x, y, 0, 2);
#endif
}
inline vec<double> interleave_upper(vec<double> x, vec<double> y) {
#if ILDFV_VECTOR_BYTES == 64
    return __builtin_shufflevector(x, y, 4, 12, 5, 13, 6, 14, 7, 15);
#elif ILDFV_VECTOR_BYTES == 32
    return __builtin_shufflevector(x, y, 2, 6, 3, 7);
#else
    return __builtin_shufflevector(x, y, 1, 3);
#endif
}

// W vectors of W lanes, transposed in place: log2 W rounds of interleaving the halves.
template <class real>
inline void transpose(vec<real>* v) {
    constexpr int W = Lanes<real>::count;
#pragma GCC unroll 4
    for (int round = 1; round < W; round *= 2) {
        vec<real> mixed[W];
#pragma GCC unroll 16
        for (int i = 0; i < W / 2; ++i) {
            mixed[2 * i] = interleave_lower(v[i], v[i + W / 2]);
            mixed[2 * i + 1] = interleave_upper(v[i], v[i + W / 2]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < W; ++i) v[i] = mixed[i];
    }
}

// Sum or maximum over the lanes of each of W vectors, as the lanes of one vector.
template <class real, class Join>
inline vec<real> across(vec<real>* v, Join join) {
#pragma GCC unroll 4
    for (int half = Lanes<real>::count / 2; half > 0; half /= 2)
#pragma GCC unroll 8
        for (int i = 0; i < half; ++i)
            v[i] = join(interleave_lower(v[i], v[i + half]), interleave_upper(v[i], v[i + half]));
    return v[0];
}
struct Plus {  // not a lambda: gcc would compile it for another instruction set
    template <class V>
    V operator()(V a, V b) const {
        return a + b;
    }
};
struct Larger {
    template <class V>
    V operator()(V a, V b) const {
        return larger(a, b);
    }
};
template <class real>
inline vec<real> lane_sums(vec<real>* v) {
    return across<real>(v, Plus());
}
template <class real>
inline vec<real> lane_tops(vec<real>* v) {
    return across<real>(v, Larger());
}

}  // namespace
}  // namespace ildfv
