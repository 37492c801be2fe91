// Moments of descriptors under a diagonal Gaussian mixture, on the CPU.
#pragma once

#include <stdint.h>

#include "common/elements.h"

namespace ildfv {

// n descriptors of d values; element (i, j) is at data[i·row_stride + j·dim_stride], strides counted in elements.
// weights: (n,), positive weights of the descriptors; null: 1 each.
struct Map {
    const void* data;
    int64_t n, row_stride, dim_stride;
    const double* weights;
};

struct Mixture {
    int64_t k, d;
    const double *weights, *means, *variances;  // (k,), (k, d), (k, d)
};

// Output memory, which need not be initialised: (b, k), (b, k, d), (b, k, d), (b,); without b when pooled.
struct Sums {
    void *s0, *s1, *s2, *log_likelihood;
    bool in_double;  // double, else float; always double when pooled
    int64_t by_map;  // stride of s1 and s2 from one map to the next, in elements; k·d if they are contiguous
};

struct Options {
    double threshold;  // posteriors below it count as 0
    bool pooled;       // one sum over all maps
    int threads;       // the result does not depend on it
    const char* isa;   // "avx512", "avx2", "baseline", or "" for the best available
};

// Computes the moments of b maps; returns the index of the first map that contains NaN or infinity, or −1.
// Elements in double are computed in double. Others are computed in float, and the sums of blocks are added in double.
int64_t moments(const Map* maps, int64_t b, Element element, const Mixture&, const Sums&, const Options&);

// C functionals of the moments of each map: first · Σ γ t + second · Σ γ (t² − 1).
struct LinearFunctionals {
    int64_t count;
    const double *first, *second;  // (C, k, d), or (b, C, k, d) if per_map
    bool per_map;
};

// Computes the contribution of every descriptor to each functional, out[map] (n, C). Returns an index, as `moments`.
int64_t contributions(const Map* maps, int64_t b, Element element, const Mixture&, const LinearFunctionals&,
                      double* const* out, const Options&);

// The instruction set that `moments` uses for `wanted` ("": the best), or null if it is not available.
const char* instruction_set(const char* wanted);

}  // namespace ildfv
