// Loops over one CT slice: windows, connected regions, histograms. Each is a single pass; NumPy would need many.
#pragma once

#include <stdint.h>

namespace ildfv {

constexpr int MAX_WINDOWS = 4;  // one vector register holds one pixel in all windows

// The input pixels that contribute to each output pixel along one axis, and their share of its area: (taps, size) each.
struct Taps {
    const int64_t* index;
    const float* share;
    int64_t taps;
};

// Windows of one slice, out (count, size, size): clipped to low … high, scaled, averaged over the area of each pixel.
// The order and rounding of all additions are those of ildfv/scans/windows.py, so the bytes are identical.
template <class In>
void window_slice(const In* hu, int64_t height, int64_t width, const float* low, const float* high, const float* scale,
                  int64_t count, Taps rows, Taps columns, int64_t size, unsigned char* out);

// Criteria for a connected region to be lung.
struct LungRule {
    double below;       // HU; its pixels must be below
    double pixel_area;  // mm²
    double least_area;  // mm² of the region
    double least_mean;  // HU; the mean must be above
};

// Writes the lung of one slice as 0 and 1, (height, width): the 4-connected regions that satisfy the rule and do not
// touch the border, with filled holes. If at_border is true, it writes the regions that touch the border instead, and
// does not fill holes. Returns the number of pixels.
template <class In>
int64_t lung_regions(const In* hu, int64_t height, int64_t width, LungRule, bool at_border, unsigned char* mask);

// Erodes or, with `grow`, dilates a mask of 0 and 1 `times` times by a pixel and its four neighbours; outside is 0.
void repeat_cross(unsigned char* mask, int64_t height, int64_t width, int64_t times, bool grow);

// Keeps the largest 4-connected region of a mask, the first one of equally large ones, and fills its holes. Returns its
// number of pixels.
int64_t largest_region(unsigned char* mask, int64_t height, int64_t width);

// Adds 1 to counts[value − least] for each of the n values or, if mask is not null, for those where mask is not 0.
template <class In>
void count_values(const In* values, const unsigned char* mask, int64_t n, int64_t least, int64_t* counts,
                  int64_t bins);

// out[i] = table[values[i]] for values below 65536.
template <class In>
void look_up(const unsigned char* table, const In* values, int64_t n, unsigned char* out);

// Like `look_up`, and adds 1 to counts[out[i]] for each value; counts: (256,).
template <class In>
void translate(const unsigned char* table, const In* values, int64_t n, unsigned char* out, int64_t* counts);

}  // namespace ildfv
