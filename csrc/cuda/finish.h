// Adds the sums of pieces in a fixed order.
#pragma once
#include "cuda/total.h"

namespace ildfv {

// out[group] = Σ of the group's pieces, in order. Elements of a piece: s0, s1, s2, log likelihood.
// Group g consists of pieces g·each … (g + 1)·each, or edges[g] … edges[g + 1].
template <class From, class To>
__device__ void finish(const From* s0, const From* s1, const From* s2, const double* log_likelihood, To* to_s0,
                       To* to_s1, To* to_s2, double* to_log_likelihood, integer d, integer k, integer pieces,
                       integer each, const integer* edges) {
    const integer i = (integer)blockIdx.y * blockDim.x + threadIdx.x, group = blockIdx.x, kd = k * d;
    if (i > k + 2 * kd) return;
    const integer start = edges ? edges[group] : group * each, stop = edges ? edges[group + 1] : start + each;
    const integer end = stop < pieces ? stop : pieces;
    if (i == k + 2 * kd) {
        double sum = 0;
        for (integer piece = start; piece < end; ++piece) sum += log_likelihood[piece];
        to_log_likelihood[group] = sum;
        return;
    }
    const integer size = i < k ? k : kd, j = i < k ? i : i < k + kd ? i - k : i - k - kd;
    const From* from = i < k ? s0 : i < k + kd ? s1 : s2;
    To* to = i < k ? to_s0 : i < k + kd ? to_s1 : to_s2;
    Total<From> sum;
#pragma unroll 4
    for (integer piece = start; piece < end; ++piece) sum.add(from[piece * size + j]);
    to[group * size + j] = sum.template as<To>();
}

}  // namespace ildfv
