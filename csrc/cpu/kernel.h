// The kernel, once for every instruction set and precision: included by baseline.cpp, avx2.cpp and avx512.cpp.
//
// A block of descriptors is centred and laid out twice: in panels, lanes = descriptors, for the scores of all
// components; and in rows, lanes = dimensions, for the moments of the few components with a posterior worth counting.
#pragma once

#include <math.h>

#include "backend.h"
#include "common/mixture.h"
#include "vectors.h"

namespace ildfv {
namespace {

constexpr int64_t BLOCK = 128;  // descriptors whose sums may be held in `real`; more go through double

inline int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }
inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Memory handed out in 64-byte steps; with a null start it only counts.
struct Arena {
    char* at;
    template <class T>
    T* take(int64_t count) {
        T* p = (T*)at;
        at += round_up(count * (int64_t)sizeof(T), 64);
        return p;
    }
};

template <class real>
struct Constants {
    static constexpr int W = Lanes<real>::count;
    int64_t k_padded, d_padded;
    real* centre;       // (d_padded,)
    real *a, *b;        // (k, d_padded), lanes = dimensions
    real* pairs;        // (k_padded / C, d, C, 2): a and b of C components side by side, lanes = descriptors
    real* c;            // (k_padded,), less the largest; −∞ for the padding
    double* offset;     // (1,): what all scores lack, as it would take digits from them: the largest c and −d/2

    Constants(void* memory, int64_t k, int64_t d);
    static int64_t bytes(int64_t k, int64_t d) {
        Constants counted(nullptr, k, d);
        return counted.end;
    }
    int64_t end;
};

constexpr int C = 8;  // components whose scores are kept in registers
constexpr int R = 2;  // vectors of descriptors: C·R accumulators
constexpr int64_t CHAIN = 32;  // float additions in a row: more would cost a score its fifth digit at d = 256

template <class real>
Constants<real>::Constants(void* memory, int64_t k, int64_t d) {
    Arena arena{(char*)memory};
    k_padded = round_up(k, C);
    d_padded = round_up(d, W);
    centre = arena.take<real>(d_padded);
    a = arena.take<real>(k * d_padded);
    b = arena.take<real>(k * d_padded);
    pairs = arena.take<real>(k_padded * d * 2);
    c = arena.take<real>(k_padded);
    offset = arena.take<double>(1);
    end = arena.at - (char*)memory;
}

inline double constant(const Mixture& m, int64_t q) {
    double sum_log = 0;
    for (int64_t j = 0; j < m.d; ++j) sum_log += log(m.variances[q * m.d + j]);
    return constant_of(m.weights[q], sum_log, m.d);
}

template <class real>
void prepare(const Mixture& m, void* memory) {
    Constants<real> to(memory, m.k, m.d);
    memset(memory, 0, to.end);
    double total = 0;
    for (int64_t q = 0; q < m.k; ++q) total += m.weights[q];
    for (int64_t j = 0; j < m.d; ++j) {
        double sum = 0;
        for (int64_t q = 0; q < m.k; ++q) sum += m.weights[q] * m.means[q * m.d + j];
        to.centre[j] = (real)(sum / total);
    }
    double largest = -INFINITY;
    for (int64_t q = 0; q < m.k; ++q) largest = fmax(largest, constant(m, q));
    *to.offset = largest - 0.5 * (double)m.d;
    for (int64_t q = 0; q < to.k_padded; ++q) to.c[q] = q < m.k ? (real)(constant(m, q) - largest) : -(real)INFINITY;
    for (int64_t q = 0; q < m.k; ++q)
        for (int64_t j = 0; j < m.d; ++j) {
            const double mean = m.means[q * m.d + j], variance = m.variances[q * m.d + j];
            real* pair = to.pairs + ((q / C * m.d + j) * C + q % C) * 2;
            pair[0] = to.a[q * to.d_padded + j] = (real)scale_of(variance);
            pair[1] = to.b[q * to.d_padded + j] = (real)shift_of(mean, to.centre[j], variance);
        }
}

template <class real>
struct Scratch {
    static constexpr int W = Lanes<real>::count;
    static constexpr int PANEL = W * R;
    real* rows;      // (BLOCK, d_padded), centred
    real* panels;    // (BLOCK / PANEL, d, PANEL), the same
    real* scores;    // (k_padded, PANEL), then e^(score − top)
    int* counts;     // (k,): entries of each component
    int* entry_row;  // (k, BLOCK)
    real* entry_posterior;
    real* top;       // (BLOCK,): largest score
    real* sum;       // (BLOCK,): Σ e^(score − top)
    int64_t end;

    Scratch(void* memory, int64_t k, int64_t d) {
        Arena arena{(char*)memory};
        const int64_t k_padded = round_up(k, C), d_padded = round_up(d, W);
        rows = arena.take<real>(BLOCK * d_padded);
        panels = arena.take<real>(BLOCK * d);
        scores = arena.take<real>(k_padded * PANEL);
        counts = arena.take<int>(k);
        entry_row = arena.take<int>(k * BLOCK);
        entry_posterior = arena.take<real>(k * BLOCK);
        top = arena.take<real>(BLOCK);
        sum = arena.take<real>(BLOCK);
        end = arena.at - (char*)memory;
    }
};

inline float as_real(float x) { return x; }
inline double as_real(double x) { return x; }
struct Half { uint16_t bits; };
struct Brain { uint16_t bits; };
inline float as_real(uint8_t x) { return x; }
inline float from_bits(uint32_t u) {
    float x;
    memcpy(&x, &u, 4);
    return x;
}
inline float as_real(Brain x) { return from_bits((uint32_t)x.bits << 16); }
inline float as_real(Half x) {
    const uint32_t sign = (uint32_t)(x.bits & 0x8000u) << 16, rest = (uint32_t)(x.bits & 0x7fffu) << 13;
    if (rest >= 0x0f800000u) return from_bits(sign | 0x70000000u | rest);  // infinity or NaN
    const float magnitude = from_bits(rest) * 5.192296858534828e33f;       // 2^112: also right for subnormals
    return sign ? -magnitude : magnitude;
}

// Rows [row, row + n) of the block from descriptors [from, from + n) of a map. False if a value is not finite.
template <class real, class element>
bool lay_out(const Map& map, int64_t from, int64_t n, int64_t row, const Constants<real>& constants, int64_t d, Scratch<real>& s) {
    constexpr int PANEL = Scratch<real>::PANEL;
    const element* x = (const element*)map.data + from * map.row_stride;
    real check = 0;
    for (int64_t i = 0; i < n; ++i) {
        real* panel = s.panels + (row + i) / PANEL * d * PANEL + (row + i) % PANEL;
        real* line = s.rows + (row + i) * constants.d_padded;
        for (int64_t j = 0; j < d; ++j) {
            const real value = (real)as_real(x[i * map.row_stride + j * map.dim_stride]);
            check += value * 0;
            panel[j * PANEL] = line[j] = value - constants.centre[j];
        }
    }
    return check == 0;
}

template <class real>
bool lay_out(const Map& map, Element element, int64_t from, int64_t n, int64_t row, const Constants<real>& constants, int64_t d, Scratch<real>& s) {
    switch (element) {
        case kFloat32: return lay_out<real, float>(map, from, n, row, constants, d, s);
        case kFloat64: return lay_out<real, double>(map, from, n, row, constants, d, s);
        case kFloat16: return lay_out<real, Half>(map, from, n, row, constants, d, s);
        case kBfloat16: return lay_out<real, Brain>(map, from, n, row, constants, d, s);
        case kUint8: return lay_out<real, uint8_t>(map, from, n, row, constants, d, s);
    }
    return false;
}

// Scores of a panel: log w + log N = c − ½ Σ t²,  t = y·a + b; as Σ (t² − 1), which stays small, with d/2 in the offset.
template <class real>
void score(const real* panel, const Constants<real>& constants, int64_t d, real* scores) {
    constexpr int W = Lanes<real>::count, PANEL = W * R;
    for (int64_t q = 0; q < constants.k_padded; q += C) {
        const real* pairs = constants.pairs + q * d * 2;
        for (int64_t from = 0; from < d; from += CHAIN) {
            const int64_t to = smaller(from + CHAIN, d);
            vec<real> sum[C][R] = {};
            for (int64_t j = from; j < to; ++j) {
                vec<real> y[R];
#pragma GCC unroll 8
                for (int r = 0; r < R; ++r) y[r] = load(panel + j * PANEL + r * W);
#pragma GCC unroll 16
                for (int i = 0; i < C; ++i) {
                    const vec<real> a = all(pairs[(j * C + i) * 2]), b = all(pairs[(j * C + i) * 2 + 1]);
#pragma GCC unroll 8
                    for (int r = 0; r < R; ++r) sum[i][r] = squares(sum[i][r], y[r], a, b);
                }
            }
#pragma GCC unroll 16
            for (int i = 0; i < C; ++i)
#pragma GCC unroll 8
                for (int r = 0; r < R; ++r) {
                    real* score = scores + (q + i) * PANEL + r * W;
                    const vec<real> before = from ? load(score) : all(constants.c[q + i]);
                    store(score, before - (real)0.5 * (sum[i][r] - (real)(to - from)));
                }
        }
    }
}

// Posteriors of a panel, as entries of the components where they are at least the threshold.
template <class real>
void assign(const Task& task, int64_t k, int64_t row, int64_t rows, Scratch<real>& s) {
    constexpr int W = Lanes<real>::count, PANEL = W * R;
    const real threshold = (real)task.threshold;
    // Below e^-17 of the largest a component adds less than float can hold; in double, or with no threshold, count all.
    const real depth = sizeof(real) == 4 && threshold > (real)4e-8 ? (real)-17 : -(real)INFINITY;
    for (int r = 0; r < R && r * W < rows; ++r) {
        real* scores = s.scores + r * W;
        vec<real> top = load(scores), sum = {};
        for (int64_t q = 1; q < k; ++q) top = larger(top, load(scores + q * PANEL));
        const vec<real> cut = top + depth;
        for (int64_t q = 0; q < k; ++q) {
            const vec<real> score = load(scores + q * PANEL);
            if (!bits(score >= cut)) {
                store(scores + q * PANEL, all((real)-1));
                continue;
            }
            const vec<real> e = exponential(score - top);
            store(scores + q * PANEL, e);
            sum += e;
        }
        store(s.top + row + r * W, top);
        store(s.sum + row + r * W, sum);
        const unsigned inside = rows - r * W >= W ? ~0u : (1u << (rows - r * W)) - 1;
        const vec<real> inverse = (real)1 / sum;
        for (int64_t q = 0; q < k; ++q) {
            const vec<real> posterior = load(scores + q * PANEL) * inverse;
            unsigned m = bits(posterior >= threshold) & inside;
            int n = s.counts[q];
            while (m) {
                const int i = __builtin_ctz(m);
                m &= m - 1;
                s.entry_row[q * BLOCK + n] = (int)row + r * W + i;
                s.entry_posterior[q * BLOCK + n] = posterior[i];
                ++n;
            }
            s.counts[q] = n;
        }
    }
}

// Σ γ t and Σ γ t² of N vectors of dimensions over a component's entries.
template <class real, int N>
void accumulate(const int* rows, const real* posteriors, int n, const real* y, int64_t stride, const real* a, const real* b, vec<real>* s1, vec<real>* s2) {
    constexpr int W = Lanes<real>::count;
    vec<real> scale[N], shift[N], first[N] = {}, second[N] = {};
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) scale[v] = load(a + v * W), shift[v] = load(b + v * W);
    for (int i = 0; i < n; ++i) {
        const real* line = y + rows[i] * stride;
        const vec<real> posterior = all(posteriors[i]);
#pragma GCC unroll 4
        for (int v = 0; v < N; ++v) {
            const vec<real> t = standardised(load(line + v * W), scale[v], shift[v]);
            const vec<real> weighted = posterior * t;
            first[v] += weighted;
            second[v] += weighted * t;
        }
    }
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) s1[v] = first[v], s2[v] = second[v];
}

template <class real, class out>
void put(const vec<real>* values, int64_t count, out* to, bool add) {
    const real* v = (const real*)values;
    if (add)
        for (int64_t j = 0; j < count; ++j) to[j] += (out)v[j];
    else
        for (int64_t j = 0; j < count; ++j) to[j] = (out)v[j];
}

// The sums of one component's entries [from, to) over all dimensions.
template <class real, class out>
void component(const Constants<real>& constants, int64_t d, int64_t q, const int* rows, const real* posteriors, int n, const Scratch<real>& s, out* s0, out* s1, out* s2, bool add) {
    constexpr int W = Lanes<real>::count, N = 4;
    double total = 0;
    for (int i = 0; i < n; ++i) total += posteriors[i];
    s0[q] = (out)(add ? s0[q] + total : total);
    const real *a = constants.a + q * constants.d_padded, *b = constants.b + q * constants.d_padded;
    for (int64_t j = 0; j < d; j += N * W) {
        vec<real> first[N], second[N];
        if (d - j > 3 * W)
            accumulate<real, 4>(rows, posteriors, n, s.rows + j, constants.d_padded, a + j, b + j, first, second);
        else if (d - j > 2 * W)
            accumulate<real, 3>(rows, posteriors, n, s.rows + j, constants.d_padded, a + j, b + j, first, second);
        else if (d - j > W)
            accumulate<real, 2>(rows, posteriors, n, s.rows + j, constants.d_padded, a + j, b + j, first, second);
        else
            accumulate<real, 1>(rows, posteriors, n, s.rows + j, constants.d_padded, a + j, b + j, first, second);
        put<real>(first, smaller(d - j, N * W), s1 + q * d + j, add);
        put<real>(second, smaller(d - j, N * W), s2 + q * d + j, add);
    }
}

// Σ log likelihood of rows [from, to): top + log Σ e^(score − top), one logarithm for many rows.
template <class real>
double log_likelihood(const Scratch<real>& s, int64_t from, int64_t to) {
    double total = 0, product = 1;
    for (int64_t i = from; i < to; ++i) {
        total += s.top[i];
        product *= s.sum[i];
        if (product > 1e200) total += log(product), product = 1;
    }
    return total + log(product);
}

template <class real>
int64_t run(const Task& task, const Segment* segments, int64_t count, Partial& partial, void* memory) {
    constexpr int PANEL = Scratch<real>::PANEL;
    const int64_t k = task.k, d = task.d;
    const Constants<real> constants((void*)task.constants, k, d);
    Scratch<real> s(memory, k, d);
    memset(s.rows, 0, BLOCK * constants.d_padded * sizeof(real));
    memset(s.panels, 0, BLOCK * d * sizeof(real));
    int64_t bad = -1, segment = 0, at = count ? segments[0].begin : 0;
    while (segment < count) {
        // Fill the block with what is left of this segment and as many of the next as fit.
        const int64_t first = segment, first_at = at;
        int64_t rows = 0;
        while (rows < BLOCK && segment < count) {
            const Segment& piece = segments[segment];
            const int64_t n = smaller(BLOCK - rows, piece.end - at);
            if (!lay_out(task.maps[piece.map], task.element, at, n, rows, constants, d, s) && bad < 0) bad = piece.map;
            rows += n;
            at += n;
            if (at < piece.end) break;
            if (++segment < count) at = segments[segment].begin;
        }
        memset(s.counts, 0, k * sizeof(int));
        for (int64_t row = 0; row < rows; row += PANEL) {
            score(s.panels + row * d, constants, d, s.scores);
            assign(task, k, row, smaller(PANEL, rows - row), s);
        }
        // Moments, one segment's share of the block after the other.
        int64_t row = 0, begin = first_at;
        int starts[1];
        (void)starts;
        for (int64_t g = first; row < rows; ++g) {
            const Segment& piece = segments[g];
            const int64_t n = smaller(rows - row, piece.end - begin), stop = row + n;
            const bool ends = begin + n == piece.end, inside = task.straight && ends && begin == piece.begin;
            for (int64_t q = 0; q < k; ++q) {
                int* entry = s.entry_row + q * BLOCK;
                real* posterior = s.entry_posterior + q * BLOCK;
                int m = 0;
                while (m < s.counts[q] && entry[m] < stop) ++m;
                if (m == 0) continue;
                if (inside && !task.sums.in_double) {
                    const int64_t o = piece.map * k;
                    component(constants, d, q, entry, posterior, m, s, (float*)task.sums.s0 + o, (float*)task.sums.s1 + o * d, (float*)task.sums.s2 + o * d, false);
                } else {
                    component(constants, d, q, entry, posterior, m, s, partial.s0, partial.s1, partial.s2, true);
                    partial.touched[q] = 1;
                }
                s.counts[q] -= m;
                memmove(entry, entry + m, s.counts[q] * sizeof(int));
                memmove(posterior, posterior + m, s.counts[q] * sizeof(real));
            }
            const double likelihood = log_likelihood(s, row, stop) + (double)n * *constants.offset;
            if (inside && !task.sums.in_double) {
                ((float*)task.sums.log_likelihood)[piece.map] = (float)likelihood;
            } else {
                partial.log_likelihood += likelihood;
                if (task.straight && ends) finish(task.sums, piece.map, partial, k, d);
            }
            row = stop;
            begin = g + 1 < count ? segments[g + 1].begin : 0;
        }
    }
    return bad;
}

template <class real>
int64_t constants_bytes(int64_t k, int64_t d) {
    return Constants<real>::bytes(k, d);
}

template <class real>
int64_t scratch_bytes(int64_t k, int64_t d) {
    return Scratch<real>(nullptr, k, d).end;
}

template <class real>
constexpr Kernel kernel(const char* isa) {
    return {isa, constants_bytes<real>, scratch_bytes<real>, prepare<real>, run<real>};
}

}  // namespace
}  // namespace ildfv
