// Distances of the pixels of a region to the pixels outside it, by Meijster, Roerdink and Hesselink (2000): first along
// the columns, then along the rows as the lower envelope of parabolas.
#include <math.h>

#include <algorithm>
#include <vector>

#include "drawing.h"

namespace ildfv {

void distance_to_outside(const unsigned char* inside, int64_t rows, int64_t columns, double* out) {
    const int64_t none = rows + columns;  // farther than any pixel
    std::vector<int64_t> along(rows * columns);
    for (int64_t y = 0; y < rows; ++y)
        for (int64_t x = 0; x < columns; ++x) {
            const int64_t i = y * columns + x;
            along[i] = inside[i] ? std::min(y ? along[i - columns] + 1 : none, none) : 0;
        }
    for (int64_t y = rows - 2; y >= 0; --y)
        for (int64_t x = 0; x < columns; ++x) {
            const int64_t i = y * columns + x;
            along[i] = std::min(along[i], along[i + columns] + 1);
        }
    std::vector<int64_t> lowest(columns), from(columns);  // the parabolas of the envelope and the first pixel of each
    for (int64_t y = 0; y < rows; ++y) {
        const int64_t* up = along.data() + y * columns;
        auto height = [&](int64_t x, int64_t i) { return (x - i) * (x - i) + up[i] * up[i]; };
        int64_t last = 0;
        lowest[0] = from[0] = 0;
        for (int64_t x = 1; x < columns; ++x) {
            while (last >= 0 && height(from[last], lowest[last]) > height(from[last], x)) --last;
            if (last < 0) {
                last = 0;
                lowest[0] = x;
                continue;
            }
            // From this pixel on, the parabola of x is lower than that of lowest[last].
            const int64_t i = lowest[last], start = 1 + (x * x - i * i + up[x] * up[x] - up[i] * up[i]) / (2 * (x - i));
            if (start < columns) {
                lowest[++last] = x;
                from[last] = start;
            }
        }
        for (int64_t x = columns - 1; x >= 0; --x) {
            out[y * columns + x] = sqrt((double)height(x, lowest[last]));
            if (x == from[last]) --last;
        }
    }
}

}  // namespace ildfv
