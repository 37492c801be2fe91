// Fisher vectors from moments, in the memory of the result.
#pragma once

#include <stdint.h>

namespace ildfv {

struct FisherLayout {
    int64_t k, d;
    bool improved;      // signed square root, then unit L2 norm
    bool by_component;  // [u_1, v_1, u_2, …], else all u, then all v
    bool weight_part;   // k further values: before each u_q, or before all u
    double least_norm;  // vectors of lower norm are divided by this value
};

// Converts each of b rows to a Fisher vector, in place. Rows are (length,), with s1 (k, d) and s2 (k, d) at the start.
// s0: (b, k). counts: (b,), number of descriptors of each map. roots: (k,), 1/√weight, or 0 for components of so low a
// weight that their part of the vector is 0.
template <class real>
void fisher_vectors(real* rows, const real* s0, const double* counts, const double* roots, const double* weights,
                    int64_t b, const FisherLayout&, int threads);

}  // namespace ildfv
