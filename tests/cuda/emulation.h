// As much of CUDA as the kernels use, on the CPU: one OS thread for each thread of a block, blocks one after another.
//
// A barrier is a std::barrier, so a missing __syncthreads is a data race that ThreadSanitizer sees, and a barrier that
// not all threads reach hangs instead of passing by luck. Shared memory is poisoned before each block.
#pragma once
#include <algorithm>
#include <barrier>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)

namespace emulation {

struct Index {
    unsigned x = 0, y = 0, z = 0;
};

struct Warp {
    std::barrier<> barrier{32};
    alignas(16) unsigned char slots[2][32][8];
};

struct Block {
    explicit Block(int threads, size_t shared_bytes)
        : barrier(threads), warps(threads / 32), bytes(shared_bytes),
          shared(static_cast<unsigned char*>(std::aligned_alloc(64, (shared_bytes + GUARD + 63) / 64 * 64))) {}
    ~Block() { std::free(shared); }
    void poison() {  // 0xFF…: NaN as float and as double
        std::memset(shared, 0xFF, bytes);
        std::memset(shared + bytes, 0xA5, GUARD);
    }
    bool overrun() const { return std::any_of(shared + bytes, shared + bytes + GUARD, [](auto c) { return c != 0xA5; }); }

    static constexpr size_t GUARD = 256;
    std::barrier<> barrier;
    std::vector<Warp> warps;
    size_t bytes;
    unsigned char* shared;
};

inline thread_local Block* block = nullptr;
inline thread_local unsigned exchanges = 0;  // shuffles so far: even and odd ones use their own slots

}  // namespace emulation

inline thread_local emulation::Index threadIdx, blockIdx, blockDim, gridDim;

inline void __syncthreads() { emulation::block->barrier.arrive_and_wait(); }

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes) {
    static_assert(sizeof(T) <= 8);
    if (mask != 0xffffffffu) std::abort();
    auto& warp = emulation::block->warps[threadIdx.x / 32];
    auto& slots = warp.slots[emulation::exchanges++ % 2];  // whoever is two ahead knows that all have read
    std::memcpy(slots[threadIdx.x % 32], &value, sizeof(T));
    warp.barrier.arrive_and_wait();
    std::memcpy(&value, slots[(threadIdx.x % 32) ^ lanes], sizeof(T));
    return value;
}

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __ffs(unsigned bits) { return __builtin_ffs(static_cast<int>(bits)); }
inline float __expf(float x) { return std::exp(x); }

#define ILDFV_SHARED_MEMORY(name) unsigned char* const name = emulation::block->shared

namespace emulation {

// Runs kernel(arguments…) over the grid; `packed` points at each argument, as for cudaLaunchKernel.
// True unless a block wrote past its shared memory.
template <class... A>
bool run(void (*kernel)(A...), Index grid, unsigned threads, size_t shared_bytes, void** packed) {
    const auto arguments = [&]<size_t... I>(std::index_sequence<I...>) {
        return std::tuple<A...>(*static_cast<A*>(packed[I])...);
    }(std::index_sequence_for<A...>{});
    Block block(static_cast<int>(threads), shared_bytes);
    bool overrun = false;
    block.poison();
    const auto work = [&](unsigned thread) {
        emulation::block = &block;
        threadIdx.x = thread;
        blockDim.x = threads;
        gridDim = grid;
        for (unsigned y = 0; y < grid.y; ++y)
            for (unsigned x = 0; x < grid.x; ++x) {
                blockIdx = {x, y, 0};
                std::apply(kernel, arguments);
                __syncthreads();  // between blocks: the next one finds only poison
                if (thread == 0) {
                    overrun |= block.overrun();
                    block.poison();
                }
                __syncthreads();
            }
    };
    std::vector<std::jthread> pool;
    for (unsigned thread = 0; thread < threads; ++thread) pool.emplace_back(work, thread);
    pool.clear();
    return !overrun;
}

}  // namespace emulation
