// Types shared by moments.cpp and the kernels for each instruction set.
#pragma once

#include <string.h>

#include "moments.h"

namespace ildfv {

constexpr int64_t SIZES[] = {4, 8, 2, 2, 1};  // in bytes, by Element

// Rows [begin, end) of maps[map].
struct Segment {
    int64_t map, begin, end;
};

// Sums in double precision over blocks, maps or jobs. touched: whether anything has been added to the sums of each
// component; the other sums are uninitialised and count as 0.
struct Partial {
    double *s0, *s1, *s2;    // (k,), (k, d), (k, d)
    unsigned char* touched;  // (k,)
    double log_likelihood;
};

// C linear functionals of the moments of each map, packed for a kernel, and the contributions of its descriptors.
struct Functionals {
    int64_t count;              // C
    const void* const* lines;   // (b,) → (k, C, d_padded / W, 2, W): factors of t and of t² − 1, lanes = dimensions
    const double* const* sums;  // (b,) → (k, C): Σ over dimensions of the factors of t² − 1
    double* const* out;         // (b,) → (n, C)
};

// The input of a kernel. functionals: if not null, contributions are computed instead of sums. straight: the segments
// are whole maps, and their sums are written to `sums`; otherwise the sums of all segments are added to the Partial.
struct Task {
    int64_t k, d;
    const void* constants;
    double threshold;
    const Map* maps;
    Element element;
    Sums sums;
    bool straight;
    const Functionals* functionals;
};

// Statistics of a mixture, computed before it is packed for a kernel.
struct View {
    const double *centre, *scales;  // (d,): mean of the mixture; (k, d): 1/sd
    const int* order;               // (d,): dimensions, the most discriminative first
    double furthest, from_0;        // largest distance of a mean, in sd, from the centre and from 0
    double least, most;             // smallest and largest scale
};

// If a mean is farther from the centre, in sd, double is used: in float, t has an error of up to distance · 6·10⁻⁸.
constexpr double FURTHEST = 512;

// The functions of a kernel: one Kernel for each instruction set and precision.
struct Kernel {
    const char* isa;
    int64_t (*constants_bytes)(int64_t k, int64_t d);  // the packed mixture; 64-byte aligned
    int64_t (*scratch_bytes)(int64_t k, int64_t d);    // scratch memory of one thread; 64-byte aligned
    void (*prepare)(const Mixture&, const View&, void* constants);
    int64_t (*lines_bytes)(int64_t k, int64_t d, int64_t count);  // the packed functionals of a map
    void (*lay_out)(const double* first, const double* second, int64_t k, int64_t d, int64_t count, void* lines,
                    double* sums);
    int64_t (*run)(const Task&, const Segment*, int64_t count, Partial&,
                   void* scratch);  // returns the index of the first map that is not finite, or −1, or IMPRECISE
};

constexpr int64_t IMPRECISE = -2;  // the result must be recomputed in double precision

extern const Kernel baseline_float, baseline_double;
#if defined(__x86_64__)
extern const Kernel avx2_float, avx2_double, avx512_float, avx512_double;
#endif

namespace {  // each translation unit needs its own copy, compiled for its instruction set

// Marks all sums as empty.
inline void clear(Partial& part, int64_t k) {
    memset(part.touched, 0, k);
    part.log_likelihood = 0;
}

template <class out>
inline void clear_component(out* s0, out* s1, out* s2, int64_t q, int64_t d) {
    s0[q] = 0;
    memset(s1 + q * d, 0, d * sizeof(out));
    memset(s2 + q * d, 0, d * sizeof(out));
}

// Writes zeros for all components that were not touched.
inline void touch_all(Partial& part, int64_t k, int64_t d) {
    for (int64_t c = 0; c < k; ++c) {
        if (part.touched[c]) continue;
        clear_component(part.s0, part.s1, part.s2, c, d);
        part.touched[c] = 1;
    }
}

// total += part; `part` is empty afterwards.
inline void move_into(Partial& total, Partial& part, int64_t k, int64_t d) {
    for (int64_t c = 0; c < k; ++c) {
        if (!part.touched[c]) continue;
        if (total.touched[c]) {
            total.s0[c] += part.s0[c];
            for (int64_t j = c * d; j < (c + 1) * d; ++j) total.s1[j] += part.s1[j];
            for (int64_t j = c * d; j < (c + 1) * d; ++j) total.s2[j] += part.s2[j];
        } else {
            total.s0[c] = part.s0[c];
            memcpy(total.s1 + c * d, part.s1 + c * d, d * sizeof(double));
            memcpy(total.s2 + c * d, part.s2 + c * d, d * sizeof(double));
            total.touched[c] = 1;
        }
    }
    total.log_likelihood += part.log_likelihood;
    clear(part, k);
}

// sums[map] = part; `part` is empty afterwards.
template <class out>
inline void move_out(const Sums& sums, int64_t map, Partial& part, int64_t k, int64_t d) {
    out *s0 = (out*)sums.s0 + map * k, *s1 = (out*)sums.s1 + map * sums.by_map, *s2 = (out*)sums.s2 + map * sums.by_map;
    for (int64_t c = 0; c < k; ++c) {
        if (!part.touched[c]) {
            clear_component(s0, s1, s2, c, d);
            continue;
        }
        s0[c] = (out)part.s0[c];
        for (int64_t j = c * d; j < (c + 1) * d; ++j) s1[j] = (out)part.s1[j];
        for (int64_t j = c * d; j < (c + 1) * d; ++j) s2[j] = (out)part.s2[j];
    }
    ((out*)sums.log_likelihood)[map] = (out)part.log_likelihood;
    clear(part, k);
}

inline void finish(const Sums& sums, int64_t map, Partial& part, int64_t k, int64_t d) {
    if (sums.in_double)
        move_out<double>(sums, map, part, k, d);
    else
        move_out<float>(sums, map, part, k, d);
}

}  // namespace
}  // namespace ildfv
