// The subset of CUDA that the kernels use, on the CPU: one fibre per thread of a block, blocks in sequence.
//
// With ILDFV_OS_THREADS each is an OS thread, which is much slower, but ThreadSanitizer detects a missing __syncthreads as
// a data race. A barrier that not all threads reach is always detected with fibres, and hangs with threads. Shared memory
// is filled with NaN before each block.
#pragma once
#include <ucontext.h>

#include <algorithm>
#include <atomic>
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

#ifdef ILDFV_OS_THREADS
typedef std::barrier<> Barrier;
#else
struct Barrier {
    explicit Barrier(int threads) : threads(threads) {}
    void arrive_and_wait();
    int threads, waiting = 0;
    unsigned passed = 0;
};
#endif

struct Warp {
    Barrier barrier{32};
    alignas(16) unsigned char slots[2][32][24];
    unsigned exchanges[32] = {};  // per lane so far: even and odd ones use different slots
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
    Barrier barrier;
    std::vector<Warp> warps;
    size_t bytes;
    unsigned char* shared;
};

inline thread_local Block* block = nullptr;

}  // namespace emulation

inline thread_local emulation::Index threadIdx, blockIdx, blockDim, gridDim;

inline void __syncthreads() { emulation::block->barrier.arrive_and_wait(); }
inline void __syncwarp() { emulation::block->warps[threadIdx.x / 32].barrier.arrive_and_wait(); }

#define ILDFV_EXCHANGE
// Words of every lane of a warp, readable by all lanes until the next exchange.
template <class T, int N>
struct Words {
    static_assert(N * sizeof(T) <= 24);
    explicit Words(const T (&mine)[N]) {
        auto& warp = emulation::block->warps[threadIdx.x / 32];
        slots = warp.slots[warp.exchanges[threadIdx.x % 32]++ % 2];  // two exchanges later all lanes have read it
        std::memcpy(slots[threadIdx.x % 32], mine, sizeof mine);
        warp.barrier.arrive_and_wait();
    }
    T of(int lane, int word) const {
        T value;
        std::memcpy(&value, slots[lane] + word * sizeof(T), sizeof(T));
        return value;
    }
    unsigned char (*slots)[24];
};
typedef Words<unsigned, 6> Exchange;

template <class T>
T __shfl_sync(unsigned mask, T value, int lane) {
    if (mask != 0xffffffffu) std::abort();
    return Words<T, 1>({value}).of(lane, 0);
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes) {
    return __shfl_sync(mask, value, (threadIdx.x % 32) ^ lanes);
}

inline unsigned __ballot_sync(unsigned mask, bool vote) {
    if (mask != 0xffffffffu) std::abort();
    const Words<unsigned, 1> votes({vote});
    unsigned bits = 0;
    for (int lane = 0; lane < 32; ++lane) bits |= votes.of(lane, 0) << lane;
    return bits;
}

template <class T>
T atomicAdd(T* at, T value) {
    return std::atomic_ref<T>(*at).fetch_add(value, std::memory_order_relaxed);
}

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __ffs(unsigned bits) { return __builtin_ffs(static_cast<int>(bits)); }
inline float __expf(float x) { return std::exp(x); }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fadd_rn(float x, float y) { return x + y; }
inline double __dmul_rn(double x, double y) { return x * y; }
inline double __dadd_rn(double x, double y) { return x + y; }

#define ILDFV_SHARED_MEMORY(name) unsigned char* const name = emulation::block->shared

namespace emulation {

#ifndef ILDFV_OS_THREADS
constexpr size_t STACK = 64 << 10;

struct Fibre {
    ucontext_t context;
    std::unique_ptr<unsigned char[]> stack{new unsigned char[STACK]};
    const Barrier* at = nullptr;  // the barrier it waits at, and its count on arrival
    unsigned passed = 0;
    bool done = false;
};

inline thread_local ucontext_t scheduler;
inline thread_local std::vector<Fibre>* fibres;
inline thread_local void (*body)();

inline void Barrier::arrive_and_wait() {
    if (++waiting == threads) {
        waiting = 0;
        ++passed;
        return;
    }
    Fibre& self = (*fibres)[threadIdx.x];
    self.at = this;
    self.passed = passed;
    swapcontext(&self.context, &scheduler);
}

inline void run_body() {
    body();
    (*fibres)[threadIdx.x].done = true;
}

// Runs `work` as every thread of the block. False if some threads wait forever.
template <class Work>
bool run_block(unsigned threads, const Work& work) {
    static thread_local const Work* current;
    current = &work;
    body = [] { (*current)(); };
    std::vector<Fibre> all(threads);
    fibres = &all;
    for (Fibre& fibre : all) {
        getcontext(&fibre.context);
        fibre.context.uc_stack.ss_sp = fibre.stack.get();
        fibre.context.uc_stack.ss_size = STACK;
        fibre.context.uc_link = &scheduler;
        makecontext(&fibre.context, run_body, 0);
    }
    for (bool moved = true; moved;) {
        moved = false;
        for (unsigned i = 0; i < threads; ++i) {
            Fibre& fibre = all[i];
            if (fibre.done || (fibre.at && fibre.at->passed == fibre.passed)) continue;
            threadIdx.x = i;
            fibre.at = nullptr;
            swapcontext(&scheduler, &fibre.context);
            moved = true;
        }
    }
    return std::all_of(all.begin(), all.end(), [](const Fibre& fibre) { return fibre.done; });
}
#endif

enum Status { DONE = 0, OVERRUN = 2, STUCK = 3 };

// Runs kernel(arguments…) over the grid; `packed` has a pointer to each argument, as for cudaLaunchKernel.
template <class... A>
Status run(void (*kernel)(A...), Index grid, unsigned threads, size_t shared_bytes, void** packed) {
    const auto arguments = [&]<size_t... I>(std::index_sequence<I...>) {
        return std::tuple<A...>(*static_cast<A*>(packed[I])...);
    }(std::index_sequence_for<A...>{});
    Block block(static_cast<int>(threads), shared_bytes);
    block.poison();
#ifdef ILDFV_OS_THREADS
    bool overrun = false;
    const auto work = [&](unsigned thread) {
        emulation::block = &block;
        threadIdx.x = thread;
        blockDim.x = threads;
        gridDim = grid;
        for (unsigned y = 0; y < grid.y; ++y)
            for (unsigned x = 0; x < grid.x; ++x) {
                blockIdx = {x, y, 0};
                std::apply(kernel, arguments);
                __syncthreads();  // between blocks: shared memory has been refilled
                if (thread == 0) {
                    overrun |= block.overrun();
                    block.poison();
                }
                __syncthreads();
            }
    };
    std::vector<std::jthread> workers;
    for (unsigned thread = 0; thread < threads; ++thread) workers.emplace_back(work, thread);
    workers.clear();
    return overrun ? OVERRUN : DONE;
#else
    emulation::block = &block;
    blockDim.x = threads;
    gridDim = grid;
    for (unsigned y = 0; y < grid.y; ++y)
        for (unsigned x = 0; x < grid.x; ++x) {
            blockIdx = {x, y, 0};
            if (!run_block(threads, [&] { std::apply(kernel, arguments); })) return STUCK;
            if (block.overrun()) return OVERRUN;
            block.poison();
        }
    return DONE;
#endif
}

}  // namespace emulation
