#include "pooled.h"

#include <algorithm>
#include <vector>

#include "response_terms.h"

namespace ildfv {
namespace {

constexpr int64_t SIDE = 3, STEP = 2;  // of a window, in locations

// The scratch memory of one thread. padded: with `reach` zeros before and after the channels.
struct Lines {
    float *terms, *sums, *direct;  // (padded)
    float *values, *slope;         // (channels,)
    int* found;                    // (channels,)
    float* rows;                   // (SIDE, columns, channels): normalised rows of a map; row y is at y mod SIDE

    static int64_t size(const Pooling& p, const Response& r) {
        return 3 * (p.channels + 2 * r.reach) + 3 * p.channels + SIDE * p.columns * p.channels;
    }
    Lines(float* at, const Pooling& p, const Response& r) {
        const int64_t padded = p.channels + 2 * r.reach;
        terms = at, sums = terms + padded, direct = sums + padded;
        values = direct + padded, slope = values + p.channels;
        found = (int*)(slope + p.channels);
        rows = slope + 2 * p.channels;
    }
};

template <class Real>
ILDFV_INLINED void rectify(const Real* x, int64_t channels, float* out) {
    for (int64_t c = 0; c < channels; ++c) {
        const float value = as_float(x[c]);
        out[c] = value < 0 ? 0 : value;  // NaN stays NaN
    }
}

// The first maximum of each channel over the locations from (top, left) on; NaN if there is one.
template <class Real>
ILDFV_INLINED void pool_window(int64_t top, int64_t left, const Pooling& p, const Lines& s, Real* out, uint8_t* place) {
    float* best = s.values;
    int* found = s.found;
    const int64_t bottom = std::min<int64_t>(top + SIDE, p.rows), right = std::min<int64_t>(left + SIDE, p.columns);
    for (int64_t y = top; y < bottom; ++y)
        for (int64_t x = left; x < right; ++x) {
            const float* values = s.rows + (y % SIDE * p.columns + x) * p.channels;
            const int here = (int)((y - top) * SIDE + x - left);
            if (here == 0) {
                for (int64_t c = 0; c < p.channels; ++c) best[c] = values[c], found[c] = 0;
                continue;
            }
            for (int64_t c = 0; c < p.channels; ++c) {
                const float value = values[c], before = best[c];
                const bool taken = (value > before) | (value != value);
                best[c] = taken ? value : before;
                found[c] = taken ? here : found[c];
            }
        }
    for (int64_t c = 0; c < p.channels; ++c) store(best[c], out + c);
    for (int64_t c = 0; c < p.channels; ++c) place[c] = (uint8_t)found[c];
}

// Pooled rows [first, last) of all maps.
template <class Real>
ILDFV_INLINED void pool_rows(const Real* x, const Pooling& p, const Response& r, int64_t first, int64_t last,
                             const Lines& s, Real* out, uint8_t* place) {
    int64_t next = 0;  // rows of all maps before this one have been normalised, if they are needed
    for (int64_t i = first; i < last; ++i) {
        const int64_t map = i / p.pooled_rows, top = i % p.pooled_rows * STEP;
        for (int64_t y = top; y < std::min<int64_t>(top + SIDE, p.rows); ++y) {
            const int64_t row = map * p.rows + y;
            if (row < next) continue;
            next = row + 1;
            for (int64_t j = 0; j < p.columns; ++j) {
                rectify(x + (row * p.columns + j) * p.channels, p.channels, s.values);
                one(s.values, p.channels, r, s.terms, s.sums, s.rows + (y % SIDE * p.columns + j) * p.channels);
            }
        }
        for (int64_t j = 0; j < p.pooled_columns; ++j) {
            const int64_t at = (i * p.pooled_columns + j) * p.channels;
            pool_window(top, j * STEP, p, s, out + at, place + at);
        }
    }
}

// Rows [first, last) of all maps.
template <class Real>
ILDFV_INLINED void gradient_rows(const Real* x, const float* gradient, const uint8_t* place, const Pooling& p,
                                 const Response& r, int64_t first, int64_t last, const Lines& s, Real* out) {
    for (int64_t i = first; i < last; ++i) {
        const int64_t map = i / p.rows, y = i % p.rows;
        for (int64_t j = 0; j < p.columns; ++j) {
            const int64_t at = (i * p.columns + j) * p.channels;
            float* slope = s.slope;
            for (int64_t c = 0; c < p.channels; ++c) slope[c] = 0;
            // the windows that contain this location
            for (int64_t v = (y - 1) / STEP; v <= std::min<int64_t>(y / STEP, p.pooled_rows - 1); ++v)
                for (int64_t w = (j - 1) / STEP; w <= std::min<int64_t>(j / STEP, p.pooled_columns - 1); ++w) {
                    const int64_t window = ((map * p.pooled_rows + v) * p.pooled_columns + w) * p.channels;
                    const int here = (int)((y - v * STEP) * SIDE + j - w * STEP);
                    for (int64_t c = 0; c < p.channels; ++c)
                        slope[c] += place[window + c] == here ? gradient[window + c] : 0.0f;
                }
            rectify(x + at, p.channels, s.values);
            one_gradient(s.values, slope, p.channels, r, s.terms, s.sums, s.direct, slope);
            for (int64_t c = 0; c < p.channels; ++c) store(s.values[c] <= 0 ? 0.0f : slope[c], out + at + c);
        }
    }
}

#define ILDFV_ROWS(Real)                                                                                               \
    ILDFV_ALSO_AVX2 void pool_part(const Real* x, const Pooling& p, const Response& r, int64_t first, int64_t last,    \
                                   const Lines& s, Real* out, uint8_t* place) {                                        \
        pool_rows(x, p, r, first, last, s, out, place);                                                                \
    }                                                                                                                  \
    ILDFV_ALSO_AVX2 void gradient_part(const Real* x, const float* gradient, const uint8_t* place, const Pooling& p,   \
                                       const Response& r, int64_t first, int64_t last, const Lines& s, Real* out) {    \
        gradient_rows(x, gradient, place, p, r, first, last, s, out);                                                  \
    }
ILDFV_ROWS(float)  // target_clones does not apply to templates
ILDFV_ROWS(uint16_t)

// Calls part(first, last, lines) for consecutive parts of `count` rows, one per thread. The results do not depend on
// the number of parts.
template <class Part>
void in_parts(int64_t count, const Pooling& p, const Response& r, int threads, Part part) {
    const int64_t size = Lines::size(p, r);
    std::vector<float> memory(threads * size);
#pragma omp parallel for num_threads(threads)
    for (int t = 0; t < threads; ++t)
        part(count * t / threads, count * (t + 1) / threads, Lines(memory.data() + t * size, p, r));
}

}  // namespace

template <class Real>
void pool(const Real* x, Pooling p, Response r, int threads, Real* out, uint8_t* place) {
    in_parts(p.maps * p.pooled_rows, p, r, threads,
             [&](int64_t first, int64_t last, const Lines& s) { pool_part(x, p, r, first, last, s, out, place); });
}

template <class Real>
void pool_gradient(const Real* x, const float* gradient, const uint8_t* place, Pooling p, Response r, int threads,
                   Real* out) {
    in_parts(p.maps * p.rows, p, r, threads, [&](int64_t first, int64_t last, const Lines& s) {
        gradient_part(x, gradient, place, p, r, first, last, s, out);
    });
}

template void pool(const float*, Pooling, Response, int, float*, uint8_t*);
template void pool(const uint16_t*, Pooling, Response, int, uint16_t*, uint8_t*);
template void pool_gradient(const float*, const float*, const uint8_t*, Pooling, Response, int, float*);
template void pool_gradient(const uint16_t*, const float*, const uint8_t*, Pooling, Response, int, uint16_t*);

}  // namespace ildfv
