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
};

template <>
struct Lanes<double> {
    static constexpr int count = ILDFV_VECTOR_BYTES / 8;
    typedef double vector __attribute__((vector_size(ILDFV_VECTOR_BYTES)));
    typedef int64_t integers __attribute__((vector_size(ILDFV_VECTOR_BYTES)));
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

template <class V>
inline V larger(V a, V b) {
    return a > b ? a : b;
}

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

// e^x for x ≤ 0, relative error < 1.2e-7; 0 below −87.
inline vec<float> exponential(vec<float> x) {
    typedef Lanes<float>::integers integers;
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
    const integers power = ((integers)z << 23) + (integers)all(1.0f);
    const vec<float> e = p * (vec<float>)power;
    return x > all(-87.0f) ? e : vec<float>{};
}

// e^x for x ≤ 0, relative error < 1e-15; 0 below −708.
inline vec<double> exponential(vec<double> x) {
    typedef Lanes<double>::integers integers;
    const vec<double> shift = all(6755399441055744.0);  // 1.5·2^52
    const vec<double> z = x * 1.44269504088896340736 + shift;
    const vec<double> n = z - shift;
    vec<double> r = x - n * 6.93147180369123816490e-1;
    r = r - n * 1.90821492927058770002e-10;
    vec<double> p = all(1.0 / 6227020800.0);  // Taylor to r^13/13!, |r| ≤ ln 2 / 2
    const double factorials[] = {479001600.0, 39916800.0, 3628800.0, 362880.0, 40320.0, 5040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0};
    for (double f : factorials) p = p * r + 1.0 / f;
    const integers power = ((integers)z << 52) + (integers)all(1.0);
    const vec<double> e = p * (vec<double>)power;
    return x > all(-708.0) ? e : vec<double>{};
}

}  // namespace
}  // namespace ildfv
