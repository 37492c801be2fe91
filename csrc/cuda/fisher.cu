// Computes the Fisher vector of each slice from its moments, including signed roots and normalisation. The result is
// the same as for `vectors` in ildfv/estimators/fisher_vectors.py, which needs a dozen array operations. This kernel
// reads the moments only twice.
#include "cuda/tile.h"

namespace ildfv {

// Offsets in a vector: the weight part of component c is at weight + c·weight_step, u at first + c·step, v at
// second + c·step.
struct Order {
    integer weight, weight_step, first, second, step;
    // weights: elements of the weight part per component, 0 or 1
    __device__ __forceinline__ Order(int k, int d, bool by_component, int weights) {
        if (by_component) {
            weight = 0, weight_step = step = 2 * d + weights;
            first = weights, second = weights + d;
        } else {
            weight = 0, weight_step = 1, step = d;
            first = (integer)k * weights, second = first + (integer)k * d;
        }
    }
};

// The block's sum, returned to all threads; the order of additions is fixed. shares: one double per warp
template <int THREADS>
__device__ __forceinline__ double sum_of_block(double value, double* shares) {
    for (int step = 16; step; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
    if (threadIdx.x % 32 == 0) shares[threadIdx.x / 32] = value;
    __syncthreads();
    double sum = 0;
#pragma unroll
    for (int warp = 0; warp < THREADS / 32; ++warp) sum += shares[warp];
    return sum;
}

// One slice per block. roots (k,) = 1/√w, 0 for components below MIN_WEIGHT; counts (b,), weights (k,), float64.
//   u = s1·f   v = (s2 − s0)·f/√2   weight part = (s0 − n·w)·f   f = 1/(n·√w)
template <class real, int THREADS>
__device__ void fisher(const real* s0, const real* s1, const real* s2, const double* counts, const double* roots,
                       const double* weights, int k, int d, bool improved, bool by_component, bool weight_part,
                       real* out) {
    ILDFV_SHARED_MEMORY(memory);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const integer slice = blockIdx.x;
    const double n = counts[slice], share = 1 / n;
    const Order order(k, d, by_component, weight_part);
    s0 += slice * k, s1 += slice * k * d, s2 += slice * k * d;
    out += slice * (2 * (integer)k * d + (weight_part ? k : 0));

    const auto each = [&](auto use) {  // calls use(offset, value) for every element of the vector
        for (int c = warp; c < k; c += THREADS / 32) {
            const real f = (real)(roots[c] * share), half = f * (real)0.7071067811865476, mass = s0[c];
#pragma unroll 2
            for (int i = lane; i < d; i += 32) {
                const integer at = (integer)c * d + i;
                use(order.first + c * order.step + i, s1[at] * f);
                use(order.second + c * order.step + i, (s2[at] - mass) * half);
            }
            if (weight_part && lane == 0)
                use(order.weight + c * order.weight_step, (mass - (real)(n * weights[c])) * f);
        }
    };
    if (!improved) return each([&](integer at, real value) { out[at] = value; });
    double sum = 0;  // of the squares of the roots
    each([&](integer, real value) { sum += value < 0 ? -value : value; });
    const real norm = sqrt((real)sum_of_block<THREADS>(sum, reinterpret_cast<double*>(memory)));
    const real scale = 1 / (norm > (real)1e-12 ? norm : (real)1e-12);  // MIN_NORM: a zero vector stays zero
    each([&](integer at, real value) {
        const real root = (real)sqrt(value < 0 ? -value : value);
        out[at] = (value < 0 ? -root : root) * scale;
    });
}

}  // namespace ildfv

using namespace ildfv;

#define ILDFV_FISHER(REAL, TYPE)                                                                                       \
    extern "C" __global__ void __launch_bounds__(256, 4)                                                               \
        fisher_##REAL(const TYPE* s0, const TYPE* s1, const TYPE* s2, const double* counts, const double* roots,       \
                      const double* weights, integer k, integer d, integer improved, integer by_component,             \
                      integer weight_part, TYPE* out) {                                                                \
        fisher<TYPE, 256>(s0, s1, s2, counts, roots, weights, (int)k, (int)d, improved != 0, by_component != 0,        \
                          weight_part != 0, out);                                                                      \
    }

ILDFV_FISHER(float32, float)
ILDFV_FISHER(float64, double)

#define ILDFV_FISHER_KERNELS(DO) DO(fisher_float32) DO(fisher_float64)
