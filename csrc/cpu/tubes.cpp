// The intersection of straight tubes with a section.
#include <math.h>

#include <algorithm>

#include "drawing.h"
#include "exact.h"

namespace ildfv {
namespace {

double clipped(double value) { return value < 0 ? 0 : value > 1 ? 1 : value; }

// Raises n pixels of a row to the fractions that a tube fills. x: coordinates of the pixels.
ILDFV_ALSO_AVX2 void fill_row(const Tube& tube, const float* x, int64_t n, double hy, double hz, double half_thickness,
                              double pixel, float* share) {
    for (int64_t i = 0; i < n; ++i) {
        const double hx = (double)x[i] - tube.x;
        const double along = clipped((hx * tube.ax + hy * tube.ay + hz * tube.az) / tube.squared_length);
        // Partial volume: a tube thinner than the section appears fainter, not narrower.
        const double above = fabs(hz - along * tube.az) - half_thickness, flat = above > 0 ? above : 0;
        const double dx = hx - along * tube.ax, dy = hy - along * tube.ay;
        const double distance = sqrt(dx * dx + dy * dy + flat * flat);
        const float fill = (float)(clipped(0.5 + (tube.radius - distance) / pixel) * tube.opacity);
        share[i] = fill > share[i] ? fill : share[i];
    }
}

}  // namespace

void draw_tubes(const Tube* tubes, const int64_t* boxes, int64_t n, const float* axis, double z, double half_thickness,
                double pixel, int64_t top, int64_t left, int64_t columns, float* share) {
    for (int64_t i = 0; i < n; ++i) {
        const Tube& tube = tubes[i];
        const int64_t *box = boxes + 4 * i, width = box[1] - box[0];
        for (int64_t row = box[2]; row < box[3]; ++row)
            fill_row(tube, axis + box[0], width, (double)axis[row] - tube.y, z - tube.z, half_thickness, pixel,
                     share + (row - top) * columns + box[0] - left);
    }
}

}  // namespace ildfv
