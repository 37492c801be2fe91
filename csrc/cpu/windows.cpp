// Windows and resizing of a slice in one pass. ildfv/scans/windows.py is the specification; the bytes are identical.
#include <math.h>

#include <vector>

#include "slices.h"

// No fused multiply-add: it rounds once where NumPy rounds twice, and the bytes would depend on the processor.
#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

namespace ildfv {
namespace {

typedef float Pixel __attribute__((vector_size(16)));  // one pixel in all windows

Pixel same(float value) { return Pixel{value, value, value, value}; }

struct Windows {
    Pixel low{}, high{}, scale{};

    Windows(const float* l, const float* h, const float* s, int64_t count) {
        for (int64_t i = 0; i < count; ++i) {
            low[i] = l[i];
            high[i] = h[i];
            scale[i] = s[i];
        }
    }

    Pixel grey(float hu) const {
        const Pixel value = same(hu), above = value > low ? value : low;
        return ((above < high ? above : high) - low) * scale;
    }
};

// Grey values of input rows. Output rows read them in ascending order, some more than once: the latest ones are kept.
template <class In>
struct Greys {
    const In* hu;
    int64_t width, slots;
    const Windows& windows;
    std::vector<Pixel> kept;     // (slots, width)
    std::vector<int64_t> which;  // (slots,): the row in each

    Greys(const In* hu, int64_t width, int64_t slots, const Windows& windows)
        : hu(hu), width(width), slots(slots), windows(windows), kept(slots * width), which(slots, -1) {}

    const Pixel* row(int64_t y) {
        Pixel* to = kept.data() + y % slots * width;
        if (which[y % slots] != y) {
            which[y % slots] = y;
            const In* from = hu + y * width;
            for (int64_t x = 0; x < width; ++x) to[x] = windows.grey((float)from[x]);
        }
        return to;
    }
};

}  // namespace

template <class In>
void window_slice(const In* hu, int64_t height, int64_t width, const float* low, const float* high, const float* scale,
                  int64_t count, Taps rows, Taps columns, int64_t size, unsigned char* out) {
    (void)height;
    const Windows windows(low, high, scale, count);
    Greys<In> greys(hu, width, rows.taps + 1, windows);
    std::vector<Pixel> sums(width);
    for (int64_t y = 0; y < size; ++y) {
        bool first = true;
        for (int64_t j = 0; j < rows.taps; ++j) {
            const float share = rows.share[j * size + y];
            if (share == 0) continue;  // would add 0
            const Pixel *from = greys.row(rows.index[j * size + y]), weight = same(share);
            if (first)
                for (int64_t x = 0; x < width; ++x) sums[x] = from[x] * weight;
            else
                for (int64_t x = 0; x < width; ++x) sums[x] += from[x] * weight;
            first = false;
        }
        for (int64_t x = 0; x < size; ++x) {
            Pixel total{};
            if (!first)
                for (int64_t j = 0; j < columns.taps; ++j)
                    total += sums[columns.index[j * size + x]] * same(columns.share[j * size + x]);
            for (int64_t c = 0; c < count; ++c)  // not negative, so truncation is floor
                out[(c * size + y) * size + x] = (unsigned char)(int)(total[c] + 0.5f);
        }
    }
}

template void window_slice(const int16_t*, int64_t, int64_t, const float*, const float*, const float*, int64_t, Taps,
                           Taps, int64_t, unsigned char*);
template void window_slice(const float*, int64_t, int64_t, const float*, const float*, const float*, int64_t, Taps,
                           Taps, int64_t, unsigned char*);

}  // namespace ildfv
