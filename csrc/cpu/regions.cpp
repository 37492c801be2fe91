// Connected regions of a slice, as runs of pixels joined by union-find: the selection of the lung, and of the body.
#include <string.h>

#include <vector>

#include "exact.h"
#include "slices.h"

namespace ildfv {
namespace {

struct Run {
    int64_t row, first, last;  // pixels first … last − 1
    int parent;                // this run, or an earlier run of the same region
};

// Runs of pixels with the wanted value in a mask of 0 and 1, joined where they touch in consecutive rows
// (4-connectivity).
struct Regions {
    std::vector<Run> runs;

    Regions(const unsigned char* mask, int64_t height, int64_t width, unsigned char wanted) {
        size_t above = 0;  // the first run of the row above
        for (int64_t y = 0; y < height; ++y) {
            const unsigned char* row = mask + y * width;
            const size_t start = runs.size();
            for (int64_t x = 0; x < width;) {
                const void* found = memchr(row + x, wanted, width - x);
                if (!found) break;
                const int64_t first = (const unsigned char*)found - row;
                const void* end = memchr(row + first, !wanted, width - first);
                x = end ? (const unsigned char*)end - row : width;
                runs.push_back({y, first, x, (int)runs.size()});
            }
            size_t a = above, b = start;
            while (a < start && b < runs.size()) {
                if (runs[a].first < runs[b].last && runs[b].first < runs[a].last) join((int)a, (int)b);
                runs[a].last < runs[b].last ? ++a : ++b;
            }
            above = start;
        }
    }

    int root(int i) {
        while (runs[i].parent != i) i = runs[i].parent = runs[runs[i].parent].parent;
        return i;
    }

    void join(int a, int b) {
        a = root(a);
        b = root(b);
        if (a < b)
            runs[b].parent = a;
        else
            runs[a].parent = b;
    }

    // For the root of each region, whether the region touches the border of the slice.
    std::vector<unsigned char> touching(int64_t height, int64_t width) {
        std::vector<unsigned char> found(runs.size());
        for (int i = 0; i < (int)runs.size(); ++i) {
            const Run& run = runs[i];
            if (run.row == 0 || run.row == height - 1 || run.first == 0 || run.last == width) found[root(i)] = 1;
        }
        return found;
    }
};

// Sums of integers are exact in any order. Other values are added in pixel order, which gives the same mean as NumPy.
inline void add(double& total, const int16_t* from, int64_t n) {
    int64_t sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += from[i];
    total += (double)sum;
}
template <class In>
void add(double& total, const In* from, int64_t n) {
    for (int64_t i = 0; i < n; ++i) total += (double)from[i];
}

inline void threshold(const int16_t* hu, int64_t n, double below, unsigned char* mask) {
    const int limit = (int)below;  // a whole number
    for (int64_t i = 0; i < n; ++i) mask[i] = hu[i] < limit;
}
template <class In>
void threshold(const In* hu, int64_t n, double below, unsigned char* mask) {
    for (int64_t i = 0; i < n; ++i) mask[i] = hu[i] < (In)below;
}

int64_t fill_holes(unsigned char* mask, int64_t height, int64_t width) {
    Regions background(mask, height, width, 0);
    const std::vector<unsigned char> open = background.touching(height, width);
    int64_t filled = 0;
    for (int i = 0; i < (int)background.runs.size(); ++i) {
        if (open[background.root(i)]) continue;
        const Run& run = background.runs[i];
        memset(mask + run.row * width + run.first, 1, run.last - run.first);
        filled += run.last - run.first;
    }
    return filled;
}

// out[i] is the smallest or, with `grow`, the largest of a pixel and its four neighbours; pixels outside are 0.
ILDFV_ALSO_AVX2 void cross(const unsigned char* mask, int64_t height, int64_t width, bool grow,
                           const unsigned char* zeros, unsigned char* out) {
    for (int64_t y = 0; y < height; ++y, out += width) {
        const unsigned char* row = mask + y * width;
        const unsigned char* above = y > 0 ? row - width : zeros;
        const unsigned char* below = y < height - 1 ? row + width : zeros;
        if (grow) {
            for (int64_t x = 0; x < width; ++x) out[x] = row[x] | above[x] | below[x];
            for (int64_t x = 1; x < width; ++x) out[x] |= row[x - 1];
            for (int64_t x = 0; x < width - 1; ++x) out[x] |= row[x + 1];
        } else {
            for (int64_t x = 0; x < width; ++x) out[x] = row[x] & above[x] & below[x];
            for (int64_t x = 1; x < width; ++x) out[x] &= row[x - 1];
            for (int64_t x = 0; x < width - 1; ++x) out[x] &= row[x + 1];
            out[0] = out[width - 1] = 0;
        }
    }
}

}  // namespace

void repeat_cross(unsigned char* mask, int64_t height, int64_t width, int64_t times, bool grow) {
    std::vector<unsigned char> zeros(width), copy(height * width);
    for (int64_t i = 0; i < times; ++i) {
        memcpy(copy.data(), mask, height * width);
        cross(copy.data(), height, width, grow, zeros.data(), mask);
    }
}

int64_t largest_region(unsigned char* mask, int64_t height, int64_t width) {
    Regions regions(mask, height, width, 1);
    std::vector<int64_t> area(regions.runs.size());
    for (int i = 0; i < (int)regions.runs.size(); ++i)
        area[regions.root(i)] += regions.runs[i].last - regions.runs[i].first;
    int largest = -1;  // roots are in the order of their first pixels
    for (int i = 0; i < (int)area.size(); ++i)
        if (area[i] > (largest < 0 ? 0 : area[largest])) largest = i;
    memset(mask, 0, height * width);
    for (int i = 0; i < (int)regions.runs.size(); ++i)
        if (regions.root(i) == largest)
            memset(mask + regions.runs[i].row * width + regions.runs[i].first, 1,
                   regions.runs[i].last - regions.runs[i].first);
    return largest < 0 ? 0 : area[largest] + fill_holes(mask, height, width);
}

template <class In>
int64_t lung_regions(const In* hu, int64_t height, int64_t width, LungRule rule, bool at_border, unsigned char* mask) {
    const int64_t n = height * width;
    threshold(hu, n, rule.below, mask);
    Regions aerated(mask, height, width, 1);
    const std::vector<unsigned char> border = aerated.touching(height, width);
    std::vector<int64_t> area(aerated.runs.size());
    std::vector<double> total(aerated.runs.size());
    for (int i = 0; i < (int)aerated.runs.size(); ++i) {
        const Run& run = aerated.runs[i];
        const int region = aerated.root(i);
        if ((bool)border[region] != at_border) continue;
        area[region] += run.last - run.first;
        add(total[region], hu + run.row * width + run.first, run.last - run.first);
    }
    memset(mask, 0, n);
    int64_t pixels = 0;
    for (int i = 0; i < (int)aerated.runs.size(); ++i) {
        const int region = aerated.root(i);
        if (area[region] == 0 || (double)area[region] * rule.pixel_area < rule.least_area ||
            !(total[region] / (double)area[region] > rule.least_mean))
            continue;
        const Run& run = aerated.runs[i];
        memset(mask + run.row * width + run.first, 1, run.last - run.first);
        pixels += run.last - run.first;
    }
    return pixels && !at_border ? pixels + fill_holes(mask, height, width) : pixels;
}

template int64_t lung_regions(const int16_t*, int64_t, int64_t, LungRule, bool, unsigned char*);
template int64_t lung_regions(const float*, int64_t, int64_t, LungRule, bool, unsigned char*);
template int64_t lung_regions(const double*, int64_t, int64_t, LungRule, bool, unsigned char*);

}  // namespace ildfv
