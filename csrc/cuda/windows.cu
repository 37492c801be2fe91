// Converts slices in Hounsfield units to windowed images: clipped, mapped to [0, 255], averaged over the area of each
// pixel.
//
// The order and rounding of all additions are those of ildfv/scans/windows.py, so the bytes are identical.
#include "cuda/elements.h"

namespace ildfv {

enum Hounsfield { HU_FLOAT32 = 0, HU_INT16 = 1 };  // HOUNSFIELD of kernels/cuda/windows.py

// The input pixels that contribute to each output pixel along one axis, and their share of its area: (taps, size) each
struct Taps {
    const integer* index;
    const float* share;
    int taps;
};

struct Window {
    float low, high, scale;  // scale = 255 / (high − low)
};

// One pixel of one channel
template <class In>
__device__ __forceinline__ unsigned char windowed(const In* hu, integer row_stride, integer column_stride, Taps rows,
                                                  Taps columns, int size, int row, int column, Window window) {
    float total = 0;
    for (int j = 0; j < columns.taps; ++j) {
        const In* from = hu + columns.index[j * size + column] * column_stride;
        float sum = 0;
        for (int i = 0; i < rows.taps; ++i) {
            const float value = (float)from[rows.index[i * size + row] * row_stride];
            const float clipped = fminf(fmaxf(value, window.low), window.high);
            const float grey = __fmul_rn(clipped - window.low, window.scale);
            sum = __fadd_rn(sum, __fmul_rn(grey, rows.share[i * size + row]));
        }
        total = __fadd_rn(total, __fmul_rn(sum, columns.share[j * size + column]));
    }
    return (unsigned char)floorf(total + 0.5f);
}

}  // namespace ildfv

using namespace ildfv;

// Each block computes 256 pixels of one slice. windows (channels, 3); out (slices, channels, size, size)
extern "C" __global__ void __launch_bounds__(256)
    window_slices(const void* hu, integer kind, integer slice_stride, integer row_stride, integer column_stride,
                  const integer* row_index, const float* row_share, integer row_taps, const integer* column_index,
                  const float* column_share, integer column_taps, const float* windows, integer channels, integer size,
                  unsigned char* out) {
    const int pixels = (int)(size * size), pixel = blockIdx.y * blockDim.x + threadIdx.x;
    if (pixel >= pixels) return;
    const Taps rows = {row_index, row_share, (int)row_taps}, columns = {column_index, column_share, (int)column_taps};
    const int row = pixel / (int)size, column = pixel % (int)size;
    const integer slice = blockIdx.x, start = slice * slice_stride;
    for (int channel = 0; channel < channels; ++channel) {
        const Window window = {windows[3 * channel], windows[3 * channel + 1], windows[3 * channel + 2]};
        out[(slice * channels + channel) * pixels + pixel] =
            kind == HU_INT16 ? windowed(static_cast<const short*>(hu) + start, row_stride, column_stride, rows, columns,
                                        (int)size, row, column, window)
                             : windowed(static_cast<const float*>(hu) + start, row_stride, column_stride, rows, columns,
                                        (int)size, row, column, window);
    }
}

#define ILDFV_WINDOW_KERNELS(DO) DO(window_slices)
