// Gathers of values by index, and compaction of values and indices by a mask.
#pragma once

#include "vectors.h"

namespace ildfv {
namespace {

// values[index[0] / UNIT], values[index[1] / UNIT], … of n values, where UNIT is a power of two. The memory of at least
// 32 values must be readable.
template <int UNIT>
inline vec<float> gather(const float* values, int64_t n, const int* index) {
#if defined(__x86_64__) && ILDFV_VECTOR_BYTES == 64
    const __m512i place = _mm512_srli_epi32(_mm512_loadu_si512(index), __builtin_ctz(UNIT));
    if (n <= 32)
        return (vec<float>)_mm512_permutex2var_ps(_mm512_loadu_ps(values), place, _mm512_loadu_ps(values + 16));
    return (vec<float>)_mm512_i32gather_ps(place, values, 4);
#else
    vec<float> v;
    for (int i = 0; i < Lanes<float>::count; ++i) v[i] = values[index[i] / UNIT];
    return v;
#endif
}
template <int UNIT>
inline vec<double> gather(const double* values, int64_t, const int* index) {
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
    return (vec<float>)_mm512_permutex2var_ps(_mm512_loadu_ps(values), _mm512_loadu_si512(index),
                                              _mm512_loadu_ps(values + 16));
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

#if defined(__x86_64__) && ILDFV_VECTOR_BYTES == 32
// For each of 256 masks, the places of its bits as bytes, the lowest first.
struct Places {
    uint64_t of[256] = {};
    constexpr Places() {
        for (int mask = 0; mask < 256; ++mask)
            for (int i = 0, n = 0; i < 8; ++i)
                if (mask >> i & 1) of[mask] |= (uint64_t)i << 8 * n++;
    }
};
constexpr Places PLACES;
inline __m256i places_of(unsigned keep) { return _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((int64_t)PLACES.of[keep])); }
#endif

// Writes the numbers and values whose bit in `keep` is set, contiguously; returns their count. Up to 16 numbers and
// values after them may be overwritten.
template <class real>
inline int compress(int* to_number, real* to_value, const int* number, vec<real> value, unsigned keep) {
#if defined(__x86_64__) && ILDFV_VECTOR_BYTES == 64
    if constexpr (sizeof(real) == 4) {
        const __m512i numbers = _mm512_maskz_compress_epi32((__mmask16)keep, _mm512_loadu_si512(number));
        _mm512_storeu_ps(to_value, _mm512_maskz_compress_ps((__mmask16)keep, (__m512)value));
        _mm512_storeu_si512(to_number, numbers);
        return __builtin_popcount(keep);
    }
#elif defined(__x86_64__) && ILDFV_VECTOR_BYTES == 32
    if constexpr (sizeof(real) == 4) {
        const __m256i places = places_of(keep), numbers = _mm256_loadu_si256((const __m256i*)number);
        _mm256_storeu_ps(to_value, _mm256_permutevar8x32_ps((__m256)value, places));
        _mm256_storeu_si256((__m256i*)to_number, _mm256_permutevar8x32_epi32(numbers, places));
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

// Writes first + i·STEP for every bit i that is set in `keep`; returns their count. Up to 16 numbers after them may be
// overwritten.
template <int STEP>
inline int compress(int* to, int first, unsigned keep) {
#if defined(__x86_64__) && ILDFV_VECTOR_BYTES == 64
    const __m512i numbers = _mm512_add_epi32(_mm512_set1_epi32(first), (__m512i)(Lanes<float>::iota() * STEP));
    _mm512_storeu_si512(to, _mm512_maskz_compress_epi32((__mmask16)keep, numbers));
    return __builtin_popcount(keep);
#elif defined(__x86_64__) && ILDFV_VECTOR_BYTES == 32  // masks of double have only four bits
    const __m256i places = _mm256_mullo_epi32(places_of(keep), _mm256_set1_epi32(STEP));
    _mm256_storeu_si256((__m256i*)to, _mm256_add_epi32(places, _mm256_set1_epi32(first)));
    return __builtin_popcount(keep);
#else
    int n = 0;
    for (; keep; keep &= keep - 1) to[n++] = first + __builtin_ctz(keep) * STEP;
    return n;
#endif
}

// The lowest n bits.
inline unsigned first_bits(int64_t n) { return n >= 32 ? ~0u : (1u << n) - 1; }

}  // namespace
}  // namespace ildfv
