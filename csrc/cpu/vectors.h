// Vectors of `real` for the instruction set that the including file chose, by the compiler's vector extension.
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
    static inline integers iota() { integers v; for (int i = 0; i < count; ++i) v[i] = i; return v; }
};

template <>
struct Lanes<double> {
    static constexpr int count = ILDFV_VECTOR_BYTES / 8;
    typedef double vector __attribute__((vector_size(ILDFV_VECTOR_BYTES)));
    typedef int64_t integers __attribute__((vector_size(ILDFV_VECTOR_BYTES)));
    typedef uint64_t unsigneds __attribute__((vector_size(ILDFV_VECTOR_BYTES)));
    static inline integers iota() { integers v; for (int i = 0; i < count; ++i) v[i] = i; return v; }
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

// The least number above 0.
template <class real>
constexpr real smallest() {
    return sizeof(real) == 4 ? (real)1.401298464324817e-45 : (real)4.9406564584124654e-324;
}

// a > b ? a : b, so b if one is NaN; gcc 12 does not always see that this is one instruction.
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

// One bit a lane, from the result of a comparison.
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

// One bit a lane where a ≥ b.
template <class V>
inline unsigned at_least(V a, V b) {
#if defined(__x86_64__) && ILDFV_VECTOR_BYTES == 64  // one instruction; gcc 12 makes three of the comparison
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

// Over the lanes of each of W vectors, as the lanes of one: their sums, or the highest.
template <class real, class Join>
inline vec<real> across(vec<real>* v, Join join) {
#pragma GCC unroll 4
    for (int half = Lanes<real>::count / 2; half > 0; half /= 2)
#pragma GCC unroll 8
        for (int i = 0; i < half; ++i) v[i] = join(interleave_lower(v[i], v[i + half]), interleave_upper(v[i], v[i + half]));
    return v[0];
}
struct Plus {  // no lambdas: gcc compiles them for another machine than the rest
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

template <class real>
inline real largest(vec<real> v) {
#if defined(__x86_64__) && ILDFV_VECTOR_BYTES == 64
    if constexpr (sizeof(real) == 4)
        return _mm512_reduce_max_ps((__m512)v);
    else
        return _mm512_reduce_max_pd((__m512d)v);
#else
    real top = v[0];
    for (int i = 1; i < Lanes<real>::count; ++i) top = v[i] > top ? v[i] : top;
    return top;
#endif
}

template <class real>
inline real total(vec<real> v) {
#if defined(__x86_64__) && ILDFV_VECTOR_BYTES == 64
    if constexpr (sizeof(real) == 4)
        return _mm512_reduce_add_ps((__m512)v);
    else
        return _mm512_reduce_add_pd((__m512d)v);
#else
    real sum = 0;
    for (int i = 0; i < Lanes<real>::count; ++i) sum += v[i];
    return sum;
#endif
}

// values[index[0] / UNIT], values[index[1] / UNIT], … where UNIT is a power of two
template <int UNIT>
inline vec<float> gather(const float* values, const int* index) {
#if defined(__x86_64__) && ILDFV_VECTOR_BYTES == 64
    return (vec<float>)_mm512_i32gather_ps(_mm512_srli_epi32(_mm512_loadu_si512(index), __builtin_ctz(UNIT)), values, 4);
#else
    vec<float> v;
    for (int i = 0; i < Lanes<float>::count; ++i) v[i] = values[index[i] / UNIT];
    return v;
#endif
}
template <int UNIT>
inline vec<double> gather(const double* values, const int* index) {
    vec<double> v;
    for (int i = 0; i < Lanes<double>::count; ++i) v[i] = values[index[i] / UNIT];
    return v;
}

inline void write_numbers(int* to, Lanes<float>::integers v) { memcpy(to, &v, sizeof v); }
inline void write_numbers(int* to, Lanes<double>::integers v) {
    for (int i = 0; i < Lanes<double>::count; ++i) to[i] = (int)v[i];
}

// values[index[0]], values[index[1]], … of 32 values, by the index's last five bits.
inline vec<float> pick(const float* values, const int* index) {
#if defined(__x86_64__) && ILDFV_VECTOR_BYTES == 64
    return (vec<float>)_mm512_permutex2var_ps(_mm512_loadu_ps(values), _mm512_loadu_si512(index), _mm512_loadu_ps(values + 16));
#else
    vec<float> v;
    for (int i = 0; i < Lanes<float>::count; ++i) v[i] = values[index[i] & 31];
    return v;
#endif
}
inline vec<double> pick(const double* values, const int* index) {
    vec<double> v;
    for (int i = 0; i < Lanes<double>::count; ++i) v[i] = values[index[i] & 31];
    return v;
}

// Writes the numbers and values whose bit in `keep` is set, side by side; returns how many. May write 16 of each.
template <class real>
inline int compress(int* to_number, real* to_value, const int* number, vec<real> value, unsigned keep) {
#if defined(__x86_64__) && ILDFV_VECTOR_BYTES == 64
    if constexpr (sizeof(real) == 4) {
        const __m512i numbers = _mm512_maskz_compress_epi32((__mmask16)keep, _mm512_loadu_si512(number));
        _mm512_storeu_ps(to_value, _mm512_maskz_compress_ps((__mmask16)keep, (__m512)value));
        _mm512_storeu_si512(to_number, numbers);
        return __builtin_popcount(keep);
    }
#endif
    int n = 0;
    for (; keep; keep &= keep - 1, ++n) {
        const int i = __builtin_ctz(keep);
        to_number[n] = number[i];
        to_value[n] = value[i];
    }
    return n;
}

// Writes first + i·STEP for every bit i in `keep`; returns how many. May write 16.
template <int STEP>
inline int compress(int* to, int first, unsigned keep) {
#if defined(__x86_64__) && ILDFV_VECTOR_BYTES == 64
    const __m512i numbers = _mm512_add_epi32(_mm512_set1_epi32(first), (__m512i)(Lanes<float>::iota() * STEP));
    _mm512_storeu_si512(to, _mm512_maskz_compress_epi32((__mmask16)keep, numbers));
    return __builtin_popcount(keep);
#else
    int n = 0;
    for (; keep; keep &= keep - 1) to[n++] = first + __builtin_ctz(keep) * STEP;
    return n;
#endif
}

// The lowest n bits.
inline unsigned first_bits(int64_t n) { return n >= 32 ? ~0u : (1u << n) - 1; }

// e^x for x ≤ 0, relative error < 1.2e-7; 0 below −87.
inline vec<float> exponential(vec<float> x) {
    typedef Lanes<float>::unsigneds unsigneds;
    const vec<float> shift = all(12582912.0f);  // 1.5·2^23: adding it rounds to the nearest integer
    const vec<float> z = x * 1.44269504088896341f + shift;
    const vec<float> n = z - shift;
    vec<float> r = x - n * 0.693145751953125f;  // ln 2 in two parts: the first times n is exact
    r = r - n * 1.42860682030941723212e-6f;
    vec<float> p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    const unsigneds power = ((unsigneds)z << 23) + (unsigneds)all(1.0f);
    const vec<float> e = p * (vec<float>)power;
    return x > all(-87.0f) ? e : vec<float>{};
}

// e^x for x ≤ 0, relative error < 1e-15; 0 below −708.
inline vec<double> exponential(vec<double> x) {
    typedef Lanes<double>::unsigneds unsigneds;
    const vec<double> shift = all(6755399441055744.0);  // 1.5·2^52
    const vec<double> z = x * 1.44269504088896340736 + shift;
    const vec<double> n = z - shift;
    vec<double> r = x - n * 6.93147180369123816490e-1;
    r = r - n * 1.90821492927058770002e-10;
    vec<double> p = all(1.0 / 6227020800.0);  // Taylor to r^13/13!, |r| ≤ ln 2 / 2
    const double factorials[] = {479001600.0, 39916800.0, 3628800.0, 362880.0, 40320.0, 5040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0};
    for (double f : factorials) p = p * r + 1.0 / f;
    const unsigneds power = ((unsigneds)z << 52) + (unsigneds)all(1.0);
    const vec<double> e = p * (vec<double>)power;
    return x > all(-708.0) ? e : vec<double>{};
}

}  // namespace
}  // namespace ildfv
