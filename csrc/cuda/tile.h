// The shape of the tile that a block processes, and the 4-element vectors for reading its arrays in shared memory.
//
// A tile has T descriptors. Parameters and descriptors pass through shared memory in chunks of DC dimensions and KC
// components, so that any d and k is supported; if there is a single chunk, it is staged only once. Rows of all shared
// arrays are padded to 4 mod 8 words, which maps eight neighbouring rows to different groups of four banks.
#pragma once
#include "cuda/elements.h"

#ifndef ILDFV_SHARED_MEMORY  // tests/cuda/emulation.h defines its own
#define ILDFV_SHARED_MEMORY(name) extern __shared__ __align__(16) unsigned char name[]
#endif

namespace ildfv {

template <class real>
struct alignas(16) Quad {
    real v[4];
};

template <class real>
__device__ __forceinline__ Quad<real> quad(const real* at) {
    return *reinterpret_cast<const Quad<real>*>(at);
}

__device__ __forceinline__ int padded(int count) { return ((count + 7) & ~7) + 4; }

template <class real_, int T_, int KC_, int DC_>
struct Tile {
    typedef real_ real;
    static constexpr int T = T_, KC = KC_, DC = DC_;
    static constexpr int THREADS = T * KC / 16;  // each has 4 descriptors × 4 components
    static constexpr int WARPS = THREADS / 32;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
    static constexpr int BLOCKS = 1;  // per multiprocessor: a second one does not fit in 64 KB of shared memory
#else
    static constexpr int BLOCKS = sizeof(real) == 4 ? 3 : 2;  // at most 168 or 255 registers per thread
#endif
    static constexpr int FEW_BLOCKS = BLOCKS > 2 ? 2 : BLOCKS;
    static constexpr int DP = DC + 4;             // row length of staged arrays
    static constexpr int SEGMENTS = T / 32;       // words of activity bits, for 32 descriptors each
    static constexpr int QUADS = DC / 4;          // a warp adds the moments of QUADS × 4 dimensions
    static constexpr int JOB = 4 * (32 / QUADS);  // and JOB components
    static constexpr int LANE_DIMS = DC / 32;
    static_assert(T % 32 == 0 && KC % JOB == 0 && DC % 32 == 0 && DC <= 128 && THREADS % 32 == 0, "tile shape");
    static_assert(JOB * SEGMENTS <= 32, "one lane per word of activity bits");
};

// 64 descriptors × 32 components × 64 dimensions; half the dimensions in double, to fit in 64 KB.
typedef Tile<float, 64, 32, 64> FloatTile;
typedef Tile<double, 64, 32, 32> DoubleTile;

}  // namespace ildfv
