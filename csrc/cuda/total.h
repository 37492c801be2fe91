// Sums that are more precise than their terms. FP64 units are scarce on most devices (2 of 130 operations per cycle on
// an L4), so floats are added as pairs of floats.
#pragma once
#include "cuda/elements.h"

namespace ildfv {

template <class real>
struct Total {
    double sum = 0;
    __device__ __forceinline__ void add(double term) { sum += term; }
    template <class To>
    __device__ __forceinline__ To as() const {
        return (To)sum;
    }
};

// high + low, 48 bits: low collects the rounding errors of the additions to high (Knuth's two-sum)
template <>
struct Total<float> {
    float high = 0, low = 0;
    __device__ __forceinline__ void add(float term) {
        const float sum = high + term, part = sum - high;
        low += (high - (sum - part)) + (term - part);
        high = sum;
    }
    template <class To>
    __device__ __forceinline__ To as() const {
        return high - high == 0 ? (To)high + (To)low : (To)high;  // if the sum is infinite, low is NaN
    }
};

}  // namespace ildfv
