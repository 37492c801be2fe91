// ReLU, local response normalisation (response.h) and max pooling of activation maps in a single pass. The results and
// gradients have the bits of the three layers in turn, which read and write the maps several times.
#pragma once

#include <stdint.h>

#include "response.h"

namespace ildfv {

// Channels-last maps. Windows of 3×3 locations, two apart, are pooled; those at the lower and right edge may be smaller.
struct Pooling {
    int64_t maps, rows, columns, channels, pooled_rows, pooled_columns;
};

// x: (maps, rows, columns, channels), float32 or, as uint16_t, bfloat16. out: (maps, pooled_rows, pooled_columns,
// channels). place: of the same shape, 3·row + column of the first maximum in its window. threads: of OpenMP.
template <class Real>
void pool(const Real* x, Pooling, Response, int threads, Real* out, uint8_t* place);

// The gradient with respect to x, from the gradient with respect to the result of `pool`, in float32, and its places.
template <class Real>
void pool_gradient(const Real* x, const float* gradient, const uint8_t* place, Pooling, Response, int threads,
                   Real* out);

}  // namespace ildfv
