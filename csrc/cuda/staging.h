// Copies descriptors and mixture parameters from device memory into the chunks in shared memory.
#pragma once
#include "cuda/tile.h"

namespace ildfv {

// The descriptors of one piece: row r, dimension j is element r·row_stride + j·dim_stride
struct Rows {
    const void* data;
    int element;
    integer row_stride, dim_stride;
    template <class In>
    __device__ __forceinline__ auto at(integer row, int dim) const {
        return widened(static_cast<const In*>(data)[row * row_stride + dim * dim_stride]);
    }
};

// For maps whose dimensions are contiguous. Neighbouring lanes read neighbouring addresses: each thread has a fixed
// dimension and iterates over rows.
template <class S, class In>
__device__ __forceinline__ void stage_by_dims(typename S::real* y, Rows x, integer first, int valid, int d0, int d,
                                              const typename S::real* centre) {
    typedef typename S::real real;
    constexpr int STEP = S::THREADS / S::DC, BATCH = 8;  // loads in flight before the first use
    static_assert(S::THREADS % S::DC == 0 && S::T % (STEP * BATCH) == 0, "whole batches");
    const int dim = threadIdx.x % S::DC, row = threadIdx.x / S::DC;
    const bool inside = d0 + dim < d;
    const real c = inside ? centre[d0 + dim] : (real)0;
    const In* from = static_cast<const In*>(x.data) + (first + row) * x.row_stride + (d0 + dim) * x.dim_stride;
    real* to = y + row * S::DP + dim;
#pragma unroll 1
    for (int r = row; r < S::T + row; r += STEP * BATCH) {
        real value[BATCH];
#pragma unroll
        for (int j = 0; j < BATCH; ++j) {
            value[j] = 0;
            if (inside && r + j * STEP < valid) value[j] = (real)widened(from[j * STEP * x.row_stride]) - c;
        }
#pragma unroll
        for (int j = 0; j < BATCH; ++j) to[j * STEP * S::DP] = value[j];
        from += BATCH * STEP * x.row_stride;
        to += BATCH * STEP * S::DP;
    }
}

// For channel-first maps. Each warp reads 8 rows × 4 dimensions, in full sectors and without bank conflicts, and
// iterates over dimensions.
template <class S, class In>
__device__ __forceinline__ void stage_by_rows(typename S::real* y, Rows x, integer first, int valid, int d0, int d,
                                              const typename S::real* centre) {
    typedef typename S::real real;
    constexpr int LINES = S::T / 8 / S::WARPS, BATCH = 4;
    static_assert(S::T % (8 * S::WARPS) == 0 && S::DC % (4 * BATCH) == 0, "whole batches");
    const int row = threadIdx.x / 32 * 8 + threadIdx.x % 8, column = threadIdx.x % 32 / 8;
    const In* from = static_cast<const In*>(x.data) + (first + row) * x.row_stride + (d0 + column) * x.dim_stride;
    real* to = y + row * S::DP + column;
#pragma unroll 1
    for (int dim = column; dim < S::DC; dim += 4 * BATCH) {
        real value[BATCH][LINES];
#pragma unroll
        for (int j = 0; j < BATCH; ++j) {
            const bool inside = d0 + dim + 4 * j < d;
            const real c = inside ? centre[d0 + dim + 4 * j] : (real)0;
#pragma unroll
            for (int line = 0; line < LINES; ++line) {
                value[j][line] = 0;
                if (inside && row + line * 8 * S::WARPS < valid)
                    value[j][line] = (real)widened(from[4 * j * x.dim_stride + line * 8 * S::WARPS * x.row_stride]) - c;
            }
        }
#pragma unroll
        for (int j = 0; j < BATCH; ++j)
#pragma unroll
            for (int line = 0; line < LINES; ++line) to[4 * j + line * 8 * S::WARPS * S::DP] = value[j][line];
        from += 4 * BATCH * x.dim_stride;
        to += 4 * BATCH;
    }
}

template <class S, class In>
__device__ __forceinline__ void stage_rows_of(typename S::real* y, Rows x, integer first, int valid, int d0, int d,
                                              const typename S::real* centre) {
    if (x.dim_stride == 1)
        stage_by_dims<S, In>(y, x, first, valid, d0, d, centre);
    else
        stage_by_rows<S, In>(y, x, first, valid, d0, d, centre);
}

// y = x − centre for T rows from `first`, dimensions d0 … d0 + DC, zero outside.  (T, DP)
template <class S>
__device__ void stage_rows(typename S::real* y, Rows x, integer first, int valid, int d0, int d,
                           const typename S::real* centre) {
    if (sizeof(typename S::real) == 8) return stage_rows_of<S, double>(y, x, first, valid, d0, d, centre);
    switch (x.element) {
        case FLOAT32: return stage_rows_of<S, float>(y, x, first, valid, d0, d, centre);
        case FLOAT16: return stage_rows_of<S, half_bits>(y, x, first, valid, d0, d, centre);
        case BFLOAT16: return stage_rows_of<S, bfloat_bits>(y, x, first, valid, d0, d, centre);
        case UINT8: return stage_rows_of<S, unsigned char>(y, x, first, valid, d0, d, centre);
    }
}

// y = 0 for descriptors of weight 0, whatever their values.  weights (T,)
template <class S>
__device__ void clear_rows(typename S::real* y, const typename S::real* weights, int valid) {
    for (int i = threadIdx.x; i < valid * S::DC; i += S::THREADS)
        if (weights[i / S::DC] == 0) y[i / S::DC * S::DP + i % S::DC] = 0;
}

// A single value, for code whose speed does not matter
template <class S>
__device__ __forceinline__ typename S::real value_at(Rows x, integer row, int dim) {
    typedef typename S::real real;
    if (sizeof(real) == 8) return (real)x.at<double>(row, dim);
    switch (x.element) {
        case FLOAT16: return (real)x.at<half_bits>(row, dim);
        case BFLOAT16: return (real)x.at<bfloat_bits>(row, dim);
        case UINT8: return (real)x.at<unsigned char>(row, dim);
        default: return (real)x.at<float>(row, dim);
    }
}

// a and b of components k0 … k0 + KC, dimensions d0 … d0 + DC, zero outside.  (KC, DP) each
template <class S>
__device__ void stage_parameters(typename S::real* a, typename S::real* b, const typename S::real* scale,
                                 const typename S::real* shift, int k0, int k, int d0, int d) {
    typedef typename S::real real;
    constexpr int STEP = S::THREADS / S::DC, BATCH = 4;
    static_assert(S::KC % (STEP * BATCH) == 0, "whole batches");
    const int dim = threadIdx.x % S::DC, comp = threadIdx.x / S::DC;
    const bool inside = d0 + dim < d;
    const integer start = (integer)(k0 + comp) * d + d0 + dim;
    const real *from_scale = scale + start, *from_shift = shift + start;
    const int left = inside ? k - k0 - comp : 0;  // number of components from this thread's first one to the last
    real *to_a = a + comp * S::DP + dim, *to_b = b + comp * S::DP + dim;
#pragma unroll 1
    for (int c = 0; c < S::KC; c += STEP * BATCH) {
        real as[BATCH], bs[BATCH];
#pragma unroll
        for (int j = 0; j < BATCH; ++j) {
            as[j] = bs[j] = 0;
            if (c + j * STEP < left) as[j] = from_scale[j * STEP * d], bs[j] = from_shift[j * STEP * d];
        }
#pragma unroll
        for (int j = 0; j < BATCH; ++j) to_a[j * STEP * S::DP] = as[j], to_b[j * STEP * S::DP] = bs[j];
        from_scale += STEP * BATCH * d, from_shift += STEP * BATCH * d;
        to_a += STEP * BATCH * S::DP, to_b += STEP * BATCH * S::DP;
    }
}

// One thread's share of a and b of a chunk, as in stage_parameters, in registers.
template <class S>
struct ParameterShare {
    typedef typename S::real real;
    static constexpr int STEP = S::THREADS / S::DC, COUNT = S::KC / STEP;
    real as[COUNT], bs[COUNT];

    __device__ __forceinline__ void load(const real* scale, const real* shift, int k0, int k, int d0, int d) {
        const int dim = threadIdx.x % S::DC, comp = threadIdx.x / S::DC;
        const int left = d0 + dim < d ? k - k0 - comp : 0;  // as in stage_parameters
        const integer start = (integer)(k0 + comp) * d + d0 + dim;
        const real *from_scale = scale + start, *from_shift = shift + start;
#pragma unroll
        for (int j = 0; j < COUNT; ++j) {
            as[j] = bs[j] = 0;
            if (j * STEP < left) as[j] = *from_scale, bs[j] = *from_shift;
            from_scale += STEP * d, from_shift += STEP * d;
        }
    }
    __device__ __forceinline__ void store(real* a, real* b) const {
        const int at = threadIdx.x / S::DC * S::DP + threadIdx.x % S::DC;
#pragma unroll
        for (int j = 0; j < COUNT; ++j) a[at + j * STEP * S::DP] = as[j], b[at + j * STEP * S::DP] = bs[j];
    }
};

template <class real>
struct Mixture {
    const real *centre, *scale, *shift, *constant;  // (d,), (k, d), (k, d), (k,): a, b, c of mixture.h
    int d, k;
    const real *squares, *products, *base, *slack;  // (k, d4), (k, d4), (k,), (k,): read by screened.h only
    bool close;                                     // all means within 4 standard deviations of the centre
};

// The chunk of descriptors and parameters that is in shared memory. All threads of a block request the same chunk;
// replacing it waits for threads that still read the old one. AHEAD: `look_ahead` loads parameters into registers
// while the block still computes with those in shared memory.
template <class S, bool AHEAD>
struct Staged {
    typedef typename S::real real;
    real *y, *a, *b;      // (T, DP), (KC, DP), (KC, DP)
    const real* weights;  // (T,), of the tile's descriptors, or null
    int rows_d0 = -1, k0 = -1, d0 = -1;
    const real* from = nullptr;
    ParameterShare<S> next;
    int next_k0 = -1, next_d0 = -1;
    const real* next_from = nullptr;

    __device__ __forceinline__ void bring(Rows x, integer start, int valid, const Mixture<real>& m, const real* first,
                                          const real* second, int width, int want_k0, int want_d0) {
        const bool rows = rows_d0 != want_d0, parameters = first && (from != first || k0 != want_k0 || d0 != want_d0);
        if (!rows && !parameters) return;
        __syncthreads();
        if (rows) stage_rows<S>(y, x, start, valid, want_d0, m.d, m.centre);
        if (rows && weights) {
            __syncthreads();
            clear_rows<S>(y, weights, valid);
        }
        if (parameters) {
            if (AHEAD && next_from == first && next_k0 == want_k0 && next_d0 == want_d0)
                next.store(a, b);
            else
                stage_parameters<S>(a, b, first, second, want_k0, m.k, want_d0, width);
        }
        __syncthreads();
        rows_d0 = want_d0;
        if (parameters) from = first, k0 = want_k0, d0 = want_d0;
    }

    // Loads the parameters that the next call of `bring` will request.
    __device__ __forceinline__ void look_ahead(const Mixture<real>& m, const real* first, const real* second, int width,
                                               int want_k0, int want_d0) {
        if (!AHEAD || (from == first && k0 == want_k0 && d0 == want_d0)) return;
        next.load(first, second, want_k0, m.k, want_d0, width);
        next_from = first, next_k0 = want_k0, next_d0 = want_d0;
    }
};

}  // namespace ildfv
