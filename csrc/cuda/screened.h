// The scores of a tile on tensor cores, with error bounds, and the exact scores of the components that they select.
//
// Scores:   c − ½ Σ t² = c − ½ Σ b² − ½ Σ (a²·y² + 2ab·y) in bfloat16, each factor in two parts. Their precision is
//           sufficient to select the "near" components, whose posteriors may reach the threshold. The scores of near
//           components are then computed exactly (`score_near`).
//
// A bfloat16 part has 8 bits, so the relative error of a product x·x' is at most 3·2^-16 and that of float sums over 64
// dimensions 2^-17. With Σ (|ay| + |b|)² ≤ 4 Σt² + 6 Σb², the error of a score is less than SLACK·(Σt² + Σb²).
#pragma once
#include "cuda/mma.h"

namespace ildfv {

static __device__ constexpr float SLACK = 1.0f / 4096;  // as in kernels/cuda/launches.py

// The row or component, 0 to 7, that the lanes of group g load. With this order and rows of 4 mod 8 words, two groups
// that load 16 bytes per lane access different banks. `gathered` is the inverse.
__device__ __forceinline__ int spread(int g) { return g / 2 + g % 2 * 4; }
__device__ __forceinline__ int gathered(int row) { return row % 4 * 2 + row / 4; }

// The first of a warp's 16 rows of the tile
template <class S>
__device__ __forceinline__ int own_rows() {
    static_assert(S::T == 16 * S::WARPS, "only one warp accesses the scores of its 16 rows");
    return threadIdx.x / 32 * 16;
}

// sum[v][·] += Σ (a²·y² + 2ab·y) over the staged dimensions, of 16 rows × components 8v … 8v + 8.
// squares, products (KC, DP): a² and 2ab; every four dimensions are eight bfloat16 values, high parts, then low parts.
template <class S>
__device__ __forceinline__ void add_screened(float (&sum)[S::KC / 8][4], const float* y, const float* squares,
                                             const float* products, int dims) {
    const int g = spread(threadIdx.x % 32 / 4), i0 = threadIdx.x % 4 * 4;
    const float* rows = y + (own_rows<S>() + g) * S::DP + i0;
    float part[S::KC / 8][4] = {};  // sums per chunk, as in add_squares
#pragma unroll 1
    for (int i = 0; i < dims; i += 16) {
        // (y_0 y_1) of rows g and g + 8, then (y_2 y_3). Any order of the dimensions is correct if the columns have it.
        Split linear[4], squared[4];
#pragma unroll
        for (int eight = 0; eight < 2; ++eight) {
            const Quad<float> q = quad(rows + eight * 8 * S::DP + i);
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const float u = q.v[2 * half], v = q.v[2 * half + 1];
                linear[2 * half + eight] = split_bfloats(u, v);
                squared[2 * half + eight] = split_bfloats(u * u, v * v);
            }
        }
#pragma unroll
        for (int v = 0; v < S::KC / 8; ++v) {
            const int at = (8 * v + g) * S::DP + i + i0;
            const Quad<float> p = quad(squares + at), q = quad(products + at);
            const Split with_squared[2] = {{bits_of(p.v[0]), bits_of(p.v[2])}, {bits_of(p.v[1]), bits_of(p.v[3])}};
            const Split with_linear[2] = {{bits_of(q.v[0]), bits_of(q.v[2])}, {bits_of(q.v[1]), bits_of(q.v[3])}};
            multiply_add<BFLOAT16_PARTS>(part[v], squared, with_squared);
            multiply_add<BFLOAT16_PARTS>(part[v], linear, with_linear);
        }
    }
#pragma unroll
    for (int v = 0; v < S::KC / 8; ++v)
#pragma unroll
        for (int e = 0; e < 4; ++e) sum[v][e] += part[v][e];
}

// gamma = scores of components k0 … k0 + KC; least[j] = lower bound of the best score of row g + 8j.
// base (k,) = c − ½ Σb², slack (k,) = SLACK·(2c + Σb²): the error of a score s is at most slack − 2·SLACK·s.
template <class S>
__device__ __forceinline__ void keep_screened(float* gamma, int kp, float (&least)[2], const float (&sum)[S::KC / 8][4],
                                              const float* base, const float* slack, int k0, int k, int k4) {
    const int g = spread(threadIdx.x % 32 / 4), t = threadIdx.x % 4;
#pragma unroll
    for (int v = 0; v < S::KC / 8; ++v)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
            const int comp = k0 + 8 * v + t + e % 2 * 4, row = own_rows<S>() + g + e / 2 * 8;
            if (comp >= k4) continue;
            const float score = comp < k ? base[comp] - 0.5f * sum[v][e] : 0.0f;
            gamma[(integer)row * kp + comp] = score;
            if (comp < k) least[e / 2] = fmaxf(least[e / 2], score * (1 + 2 * SLACK) - slack[comp]);
        }
}

// near (T, words): a bit for each component whose posterior may reach the threshold or affect the row's sum. Components
// more than `depth` below the best score can do neither. Returns the number of bits set in this warp's rows.
template <class S>
__device__ int choose_near(unsigned* near, int words, const float* gamma, int kp, float (&least)[2], const float* slack,
                           float depth, int k, int valid) {
    const unsigned all = 0xffffffffu;
    const int lane = threadIdx.x % 32;
    int count = 0;
#pragma unroll
    for (int eight = 0; eight < 2; ++eight) {
        least[eight] = fmaxf(least[eight], __shfl_xor_sync(all, least[eight], 1));
        least[eight] = fmaxf(least[eight], __shfl_xor_sync(all, least[eight], 2));
    }
    __syncwarp();  // all scores are written
    for (int r = 0; r < 16; ++r) {
        const float cut = __shfl_sync(all, r < 8 ? least[0] : least[1], 4 * gathered(r % 8)) - depth;
        const int row = own_rows<S>() + r;
        const float* g = gamma + (integer)row * kp;
        for (int word = 0; word < words; ++word) {
            const int comp = word * 32 + lane;
            bool is_near = false;
            if (comp < k && row < valid) is_near = !(g[comp] * (1 - 2 * SLACK) + slack[comp] < cut);  // true for NaN
            const unsigned bits = __ballot_sync(all, is_near);
            if (lane == 0) near[row * words + word] = bits;
            count += __popc(bits);
        }
    }
    __syncwarp();
    return count;
}

// gamma = c − ½ Σ t² of the near components, over the staged dimensions; the first chunk adds c.
// list: room for k numbers, used by this warp only
template <class S>
__device__ void score_near(float* gamma, int kp, const unsigned* near, int words, unsigned short* list, const float* y,
                           const float* scale, const float* shift, const float* constant, int d0, int d, bool first) {
    const unsigned all = 0xffffffffu;
    const int lane = threadIdx.x % 32, group = lane / 8, dims = d - d0 < S::DC ? d - d0 : S::DC;
    for (int r = 0; r < 16; ++r) {
        const int row = own_rows<S>() + r;
        int count = 0;
        for (int word = 0; word < words; ++word) {
            const unsigned bits = near[row * words + word];
            if (bits >> lane & 1) list[count + __popc(bits & ((1u << lane) - 1))] = (unsigned short)(word * 32 + lane);
            count += __popc(bits);
        }
        __syncwarp();
        for (int p = 0; p < count; p += 4) {  // four pairs at a time, eight lanes each
            const int comp = list[p + group < count ? p + group : count - 1];
            const integer at = (integer)comp * d + d0;
            float sum = 0;
#pragma unroll 4
            for (int i = lane % 8; i < dims; i += 8)
                sum = squares(sum, y[row * S::DP + i], scale[at + i], shift[at + i]);
            for (int step = 4; step; step /= 2) sum += __shfl_xor_sync(all, sum, step);
            float* score = gamma + (integer)row * kp + comp;
            if (lane % 8 == 0 && p + group < count) *score = (first ? constant[comp] : *score) - 0.5f * sum;
        }
        __syncwarp();  // before the list is overwritten
    }
}

}  // namespace ildfv
