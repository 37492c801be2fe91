// The scratch memory of one thread and its layout.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include "backend.h"
#include "vectors.h"

namespace ildfv {
namespace {

// Rows × vectors of components whose scores are kept in registers: they use 24 of 32 registers with AVX-512, else 8 of
// 16.
constexpr int ROWS = ILDFV_VECTOR_BYTES == 64 ? 12 : 4, VECTORS = 2;
constexpr int PANEL = 32;                                     // rows whose candidates are selected together
constexpr int COMPONENTS = ILDFV_VECTOR_BYTES == 64 ? 8 : 4;  // components whose moments are kept in registers

template <int N>
struct Width {
    static constexpr int n = N;
};

inline int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }
inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Allocates 64-byte aligned pieces of a buffer, with gaps under AddressSanitizer. If `at` is null at the start, nothing
// is allocated, and `at` becomes the required size.
struct Arena {
    char* at;
    template <class T>
    T* take(int64_t count) {
        T* p = (T*)at;
        at += round_up(count * (int64_t)sizeof(T), 64);
#if defined(__SANITIZE_ADDRESS__)
        if ((int64_t)p > (int64_t)1 << 32) __asan_poison_memory_region(at, 64);
        at += 64;
#endif
        return p;
    }
};

// Descriptors (n, d_padded) from which `shift` must be subtracted to centre them.
template <class real>
struct Rows {
    const real* at;
    int64_t stride;
    const real* shift;  // (d_padded,)
};

template <class real>
struct Scratch {
    static constexpr int W = Lanes<real>::count;
    int64_t block;       // maximum number of rows in a block
    int64_t capacity;    // block plus room for the last tile
    int64_t row_stride;  // d_padded plus one vector: a power of two would map all rows to the same cache sets
    real* rows;          // (capacity, row_stride), minus the centre or the base
    real* scores;        // (k_padded / W, capacity, W): of all components; replaced by posteriors
    real* likelihoods;   // (k_padded / W, PANEL, W): of a panel, in the few dimensions (bounds.h)
    real* tail;          // (PANEL, row_stride): the last rows of a block, if they do not fill a panel
    int* pairs;          // (PANEL · k,): of a panel, component · PANEL + row
    real* pair_value;    // of each pair: score; replaced by its difference from the best score, then by the posterior
    real* top;           // (capacity,): highest score
    real* sum;           // (capacity,): Σ e^(score − top)
    int* entry_row;      // (k · capacity,): row of each entry, in the order in which entries are found
    int* entry_component;
    real* entry_value;
    int64_t entries;  // number of entries
    int* starts;      // (k,): start of each component's entries in sorted_row and sorted_value
    int* ends;        // (k,)
    int* sorted_row;  // (k · (capacity + W),): the entries sorted by component
    real* sorted_value;
    int* some_row;  // (capacity,): a component's entries in one segment
    real* some_value;
    real* posterior_sums;  // (k_padded,)
    real* column;          // (capacity, 2, W): W dimensions of all rows, centred, with squares if SQUARES (dense.h)
    real* weight;          // (capacity,): of each row of the block, if its maps have weights
    const char* ahead;     // address of the next block's input, to be prefetched
    int64_t ahead_bytes;   // of one row
    int64_t bytes;

    Scratch(void* memory, int64_t k, int64_t d) {
        Arena arena{(char*)memory};
        const int64_t k_padded = round_up(k, W), d_padded = round_up(d, W);
        block = smaller(1024, round_up(65536 / d_padded + 1, 8));  // keeps the rows in L2
        // Vectors of components are W · W values more than a multiple of 4096 bytes apart, in different cache sets.
        capacity = round_up(round_up(block, ROWS) + 3 * PANEL, 4096 / ILDFV_VECTOR_BYTES) + W;
        row_stride = d_padded + W;
        rows = arena.take<real>(capacity * row_stride);
        scores = arena.take<real>(capacity * round_up(k_padded, COMPONENTS));
        likelihoods = arena.take<real>(PANEL * k_padded);
        tail = arena.take<real>(PANEL * row_stride);
        pairs = arena.take<int>(PANEL * k + 2 * W);
        pair_value = arena.take<real>(PANEL * k + 2 * W);
        top = arena.take<real>(capacity);
        sum = arena.take<real>(capacity);
        entry_row = arena.take<int>(k * capacity + W);
        entry_component = arena.take<int>(k * capacity + W);
        entry_value = arena.take<real>(k * capacity + W);
        entries = 0;
        starts = arena.take<int>(k);
        ends = arena.take<int>(k);
        sorted_row = arena.take<int>(k * (capacity + W) + W);
        sorted_value = arena.take<real>(k * (capacity + W) + W);
        some_row = arena.take<int>(capacity);
        some_value = arena.take<real>(capacity);
        posterior_sums = arena.take<real>(k_padded + COMPONENTS);
        column = arena.take<real>(capacity * 2 * W);
        weight = arena.take<real>(capacity);
        ahead = nullptr;
        ahead_bytes = 0;
        bytes = arena.at - (char*)memory;
    }

    // Sorts the entries by component.
    void sort(int64_t k) {
        memset(ends, 0, k * sizeof(int));
        for (int64_t i = 0; i < entries; ++i) ++ends[entry_component[i]];
        int before = 0;
        for (int64_t q = 0; q < k; ++q) {
            const int n = ends[q];
            starts[q] = ends[q] = before;
            before += n;
        }
        for (int64_t i = 0; i < entries; ++i) {
            const int at = ends[entry_component[i]]++;
            sorted_row[at] = entry_row[i];
            sorted_value[at] = entry_value[i];
        }
    }
};

}  // namespace
}  // namespace ildfv
