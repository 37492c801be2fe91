// Windows and resizing of a slice in one pass. ildfv/scans/windows.py is the specification; the bytes are identical.
#include <string.h>

#include <vector>

#include "slices.h"

#include "exact.h"

namespace ildfv {
namespace {

constexpr int64_t LANES = 8;
typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));  // neighbouring pixels of a row
typedef float Pixel __attribute__((vector_size(16)));                                // one pixel in all windows
typedef int32_t Grey __attribute__((vector_size(16)));

#ifdef __clang__
#define SHUFFLED(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else  // GCC supports the function above only since version 12
#define SHUFFLED(a, b, i, j, k, l) __builtin_shuffle(a, b, Grey{i, j, k, l})
#endif

Pixel same(float value) { return Pixel{value, value, value, value}; }

// Rows are padded to whole vectors, whose additional pixels are not used.
int64_t padded(int64_t width) { return (width + LANES - 1) / LANES * LANES; }

void as_floats(const float* from, int64_t width, float* to) { memcpy(to, from, width * sizeof(float)); }
ILDFV_ALSO_AVX2 void as_floats(const int16_t* from, int64_t width, float* to) {
    for (int64_t x = 0; x < width; ++x) to[x] = (float)from[x];
}

ILDFV_ALSO_AVX2 void clip_row(const float* hu, int64_t width, float low, float high, float scale, float* to) {
    const Lanes least = Lanes{} + low, most = Lanes{} + high;
    for (int64_t x = 0; x < width; x += LANES) {
        const Lanes value = *(const Lanes*)(hu + x), above = value > least ? value : least;
        *(Lanes*)(to + x) = ((above < most ? above : most) - least) * scale;
    }
}

// Weighted sum of rows, from the first to the last.
ILDFV_ALSO_AVX2 void add_rows(const float* const* rows, const float* shares, int64_t n, int64_t width, float* sums) {
    for (int64_t x = 0; x < width; x += LANES) {
        Lanes total = *(const Lanes*)(rows[0] + x) * shares[0];
        for (int64_t j = 1; j < n; ++j) total += *(const Lanes*)(rows[j] + x) * shares[j];
        *(Lanes*)(sums + x) = total;
    }
}

// Grey values of input rows. Input rows are read in ascending order, some for several output rows, so that the most
// recent rows are kept.
template <class In>
struct Greys {
    const In* hu;
    int64_t width, stride, slots, count;
    const float *low, *high, *scale;
    std::vector<float> kept;     // (slots, count, stride)
    std::vector<float> row;      // (stride,): HU
    std::vector<int64_t> which;  // (slots,): the input row in each slot

    Greys(const In* hu, int64_t width, int64_t slots, const float* low, const float* high, const float* scale,
          int64_t count)
        : hu(hu), width(width), stride(padded(width)), slots(slots), count(count), low(low), high(high), scale(scale),
          kept(slots * count * stride), row(stride), which(slots, -1) {}

    // Row y in all windows, (count, stride).
    const float* operator[](int64_t y) {
        float* to = kept.data() + y % slots * count * stride;
        if (which[y % slots] != y) {
            which[y % slots] = y;
            as_floats(hu + y * width, width, row.data());
            for (int64_t c = 0; c < count; ++c)
                clip_row(row.data(), stride, low[c], high[c], scale[c], to + c * stride);
        }
        return to;
    }
};

// Weighted sums of the pixels of a row, from the first tap to the last, rounded.
// TAPS: the number of taps, or 0 if it is not known at compile time.
template <int TAPS>
void add_columns(const Pixel* pixels, Taps taps, int64_t size, Grey* out) {
    for (int64_t x = 0; x < size; ++x) {
        Pixel total{};
        for (int64_t j = 0; j < (TAPS ? TAPS : taps.taps); ++j)
            total += pixels[taps.index[j * size + x]] * same(taps.share[j * size + x]);
        out[x] = __builtin_convertvector(total + same(0.5f), Grey);  // not negative, so it rounds down
    }
}

// The rows of all windows as pixels.
void interleave(const float* rows, int64_t stride, Pixel* out) {
    for (int64_t x = 0; x < stride; x += 4) {
        Pixel row[MAX_WINDOWS];
        for (int c = 0; c < MAX_WINDOWS; ++c) memcpy(&row[c], rows + c * stride + x, sizeof(Pixel));
        const Pixel low01 = SHUFFLED(row[0], row[1], 0, 4, 1, 5), high01 = SHUFFLED(row[0], row[1], 2, 6, 3, 7),
                    low23 = SHUFFLED(row[2], row[3], 0, 4, 1, 5), high23 = SHUFFLED(row[2], row[3], 2, 6, 3, 7);
        out[x] = SHUFFLED(low01, low23, 0, 1, 4, 5);
        out[x + 1] = SHUFFLED(low01, low23, 2, 3, 6, 7);
        out[x + 2] = SHUFFLED(high01, high23, 0, 1, 4, 5);
        out[x + 3] = SHUFFLED(high01, high23, 2, 3, 6, 7);
    }
}

}  // namespace

template <class In>
void window_slice(const In* hu, int64_t height, int64_t width, const float* low, const float* high, const float* scale,
                  int64_t count, Taps rows, Taps columns, int64_t size, unsigned char* out) {
    (void)height;
    Greys<In> greys(hu, width, rows.taps + 1, low, high, scale, count);
    const int64_t stride = padded(width);
    std::vector<float> sums(MAX_WINDOWS * stride);
    std::vector<Pixel> pixels(stride);
    std::vector<Grey> found(size);
    std::vector<const float*> used(rows.taps);
    std::vector<float> shares(rows.taps);
    for (int64_t y = 0; y < size; ++y) {
        int64_t n = 0;
        for (int64_t j = 0; j < rows.taps; ++j) {
            const float share = rows.share[j * size + y];
            if (share == 0) continue;  // would add 0
            used[n] = greys[rows.index[j * size + y]];
            shares[n++] = share;
        }
        if (n == 0) {
            for (int64_t c = 0; c < count; ++c) memset(out + (c * size + y) * size, 0, size);
            continue;
        }
        add_rows(used.data(), shares.data(), n, count * stride, sums.data());
        interleave(sums.data(), stride, pixels.data());
        if (columns.taps == 4)
            add_columns<4>(pixels.data(), columns, size, found.data());  // 512 pixels
        else
            add_columns<0>(pixels.data(), columns, size, found.data());
        for (int64_t c = 0; c < count; ++c) {
            unsigned char* to = out + (c * size + y) * size;
            for (int64_t x = 0; x < size; ++x) to[x] = (unsigned char)found[x][c];
        }
    }
}

template void window_slice(const int16_t*, int64_t, int64_t, const float*, const float*, const float*, int64_t, Taps,
                           Taps, int64_t, unsigned char*);
template void window_slice(const float*, int64_t, int64_t, const float*, const float*, const float*, int64_t, Taps,
                           Taps, int64_t, unsigned char*);

}  // namespace ildfv
