// Copies descriptors of any element type and layout to contiguous rows of `real`, minus the centre or the base of the
// mixture (constants.h).
#pragma once

#include "constants.h"

namespace ildfv {
namespace {

struct Half {
    uint16_t bits;
};
struct Brain {
    uint16_t bits;
};

inline float from_bits(uint32_t u) {
    float x;
    memcpy(&x, &u, 4);
    return x;
}

inline float as_real(float x) { return x; }
inline double as_real(double x) { return x; }
inline float as_real(uint8_t x) { return x; }
inline float as_real(Brain x) { return from_bits((uint32_t)x.bits << 16); }
inline float as_real(Half x) {
    const uint32_t sign = (uint32_t)(x.bits & 0x8000u) << 16, rest = (uint32_t)(x.bits & 0x7fffu) << 13;
    const float magnitude = from_bits(rest) * 5.192296858534828e33f;  // 2^112; also correct for subnormal numbers
    return from_bits(sign | (rest >= 0x0f800000u ? 0x7f800000u : 0u)) +
           (sign ? -magnitude : magnitude);  // infinity and NaN
}

// Copies descriptors [from, from + n) of a map, minus `centre`, to rows [row, row + n) of the block. Returns false if a
// value is not finite.
template <class real, class element>
__attribute__((noinline)) bool lay_out(const Map& map, int64_t from, int64_t n, int64_t row, const real* centre,
                                       int64_t d, Scratch<real>& s) {
    constexpr int W = Lanes<real>::count;
    const int64_t stride = s.row_stride;
    const element* x = (const element*)map.data + from * map.row_stride;
    real* rows = s.rows + row * stride;
    typename Lanes<real>::integers check = {};         // bits of x − x, which is 0 or NaN
    if (map.row_stride == 1 && map.dim_stride != 1) {  // channel-first: transpose W×W blocks
        for (int64_t i = 0; i < n; i += W)
            for (int64_t j = 0; j < d; j += W) {
                const int64_t lanes = smaller(W, n - i), dims = smaller(W, d - j);
                vec<real> v[W] = {};
                for (int64_t q = 0; q < dims; ++q) {
                    const element* from_here = x + i + (j + q) * map.dim_stride;
                    real line[W] = {};
                    if (lanes == W)
                        for (int64_t p = 0; p < W; ++p) line[p] = (real)as_real(from_here[p]);
                    else
                        for (int64_t p = 0; p < lanes; ++p) line[p] = (real)as_real(from_here[p]);
                    v[q] = load(line);
                    check |= (typename Lanes<real>::integers)(v[q] - v[q]);
                    v[q] -= all(centre[j + q]);
                }
                transpose<real>(v);
                for (int64_t p = 0; p < lanes; ++p) store(rows + (i + p) * stride + j, v[p]);
            }
    } else {
        for (int64_t i = 0; i < n; ++i) {
            const element* line = x + i * map.row_stride;
            real* to = rows + i * stride;
            if (d % W) store(to + d / W * W, vec<real>{});  // the padding
            int64_t j = 0;
            if (map.dim_stride == 1)
                for (; j + W <= d; j += W) {
                    real values[W];
                    for (int64_t q = 0; q < W; ++q) values[q] = (real)as_real(line[j + q]);
                    const vec<real> v = load(values);
                    check |= (typename Lanes<real>::integers)(v - v);
                    store(to + j, v - load(centre + j));
                }
            if (map.dim_stride == 1 && j > 0 && j < d) {  // the last W values: some of them are written a second time
                real values[W];
                for (int64_t q = 0; q < W; ++q) values[q] = (real)as_real(line[d - W + q]);
                const vec<real> v = load(values);
                check |= (typename Lanes<real>::integers)(v - v);
                store(to + d - W, v - load(centre + d - W));
                j = d;
            }
            for (; j < d; ++j) {
                const real value = (real)as_real(line[j * map.dim_stride]);
                check[0] |= value - value == 0 ? 0 : 1;
                to[j] = value - centre[j];
            }
        }
    }
    return !bits(check != 0);
}

template <class real>
bool lay_out(const Map& map, Element element, int64_t from, int64_t n, int64_t row, const real* centre, int64_t d,
             Scratch<real>& s) {
    switch (element) {
        case FLOAT32: return lay_out<real, float>(map, from, n, row, centre, d, s);
        case FLOAT64: return lay_out<real, double>(map, from, n, row, centre, d, s);
        case FLOAT16: return lay_out<real, Half>(map, from, n, row, centre, d, s);
        case BFLOAT16: return lay_out<real, Brain>(map, from, n, row, centre, d, s);
        case UINT8: return lay_out<real, uint8_t>(map, from, n, row, centre, d, s);
    }
    return false;
}

}  // namespace
}  // namespace ildfv
