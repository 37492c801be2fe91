// For crowded shares: the posteriors of all components, and moments as matrix products.
#pragma once

#include "exponential.h"
#include "indices.h"
#include "scores.h"

namespace ildfv {
namespace {

// Replaces scores by posteriors, 0 below the threshold, and sets `top` and `sum` for the log likelihood. W rows at a
// time.
template <class real>
__attribute__((noinline)) void posteriors(const Constants<real>& constants, Scratch<real>& s, int64_t rows,
                                          real threshold) {
    constexpr int W = Lanes<real>::count;
    const int64_t next = s.capacity * W;  // stride between vectors of components
    const real least = threshold > 0 ? threshold : smallest<real>();
    for (int64_t row = 0; row < rows; row += W) {
        real *first = s.scores + row * W, *end = first + constants.k_padded / W * next;
        vec<real> tops[W], sums[W] = {};
        real inverses[W];
        for (int i = 0; i < W; ++i) tops[i] = load(first + i * W);
        for (real* p = first + next; p < end; p += next)
            for (int i = 0; i < W; ++i) tops[i] = larger(tops[i], load(p + i * W));
        store(s.top + row, lane_tops<real>(tops));
        for (real* p = first; p < end; p += next)
            for (int i = 0; i < W; ++i) {
                const vec<real> e = exponential(load(p + i * W) - all(s.top[row + i]));
                store(p + i * W, e);
                sums[i] += e;
            }
        store(s.sum + row, lane_sums<real>(sums));
        store(inverses, all((real)1) / load(s.sum + row));
        for (real* p = first; p < end; p += next)
            for (int i = 0; i < W; ++i) {
                const vec<real> gamma = load(p + i * W) * all(inverses[i]);
                store(p + i * W, gamma >= all(least) ? gamma : vec<real>{});
            }
    }
}

// Multiplies the posteriors of rows [from, to) by the weights of the rows.
template <class real>
void weight_rows(const Constants<real>& constants, Scratch<real>& s, int64_t from, int64_t to) {
    constexpr int W = Lanes<real>::count;
    for (int64_t v = 0; v < constants.k_padded / W; ++v)
        for (int64_t row = from; row < to; ++row) {
            real* gamma = s.scores + (v * s.capacity + row) * W;
            store(gamma, load(gamma) * all(s.weight[row]));
        }
}

// The fraction of posteriors above 0 in every fourth row of [from, to).
template <class real>
double density(const Constants<real>& constants, const Scratch<real>& s, int64_t from, int64_t to) {
    constexpr int W = Lanes<real>::count;
    int64_t above = 0, rows = 0;
    for (int64_t row = from; row < to; row += 4, ++rows)
        for (int64_t v = 0; v < constants.k_padded / W; ++v)
            above += __builtin_popcount(at_least(load(s.scores + (v * s.capacity + row) * W), all(smallest<real>())));
    return (double)above / (double)(rows * constants.k);
}

// Lists the posteriors above 0 as entries of their components, in the order of the rows. W rows × W components are
// transposed at a time, so that the posteriors of a component are the lanes of a vector.
template <class real>
__attribute__((noinline)) void list_posteriors(const Constants<real>& constants, Scratch<real>& s, int64_t rows) {
    constexpr int W = Lanes<real>::count;
    const int room = (int)round_up(rows, W) + W;  // for the entries of a component
    for (int64_t q = 0; q < constants.k; ++q) s.starts[q] = s.ends[q] = (int)q * room;
    for (int64_t first = 0; first < constants.k; first += W)
        for (int64_t row = 0; row < rows; row += W) {
            vec<real> block[W], most = {};
            int numbers[W];
            const real* gamma = s.scores + (first / W * s.capacity + row) * W;
            for (int i = 0; i < W; ++i) block[i] = load(gamma + i * W), most = larger(most, block[i]);
            unsigned some = at_least(most, all(smallest<real>())) & first_bits(constants.k - first);
            if (!some) continue;
            transpose<real>(block);
            for (int i = 0; i < W; ++i) numbers[i] = (int)row + i;
            for (; some; some &= some - 1) {
                const int i = __builtin_ctz(some);
                const unsigned keep = at_least(block[i], all(smallest<real>())) & first_bits(rows - row);
                int& end = s.ends[first + i];
                end += compress<real>(s.sorted_row + end, s.sorted_value + end, numbers, block[i], keep);
            }
        }
}

constexpr bool SQUARES = ILDFV_VECTOR_BYTES == 32;  // whether squares are packed; with AVX-512, this is slower

// Packs W dimensions from j on of rows [from, to), centred, each followed by its square if SQUARES. Contiguous columns
// stay in L1, unlike rows whose stride is a power of two.
template <class real>
__attribute__((noinline)) void lay_out_column(const Rows<real>& x, Scratch<real>& s, int64_t from, int64_t to,
                                              int64_t j) {
    constexpr int W = Lanes<real>::count;
    const vec<real> shift = load(x.shift + j);
    real* column = s.column;
    for (int64_t row = from; row < to; ++row, column += (1 + SQUARES) * W) {
        const vec<real> value = load(x.at + row * x.stride + j) - shift;
        store(column, value);
        if (SQUARES) store(column + W, value * value);
    }
}

// s1 += a Σ γ y + b Σ γ and s2 += a² Σ γ y² + 2ab Σ γ y + b² Σ γ of one component in n dimensions; first: Σ γ y,
// second: Σ γ y², sum: Σ γ.
template <class real, class out>
__attribute__((always_inline)) inline void add_products(const real* line, double sum, const real* first,
                                                        const real* second, int64_t n, out* __restrict s1,
                                                        out* __restrict s2) {
    constexpr int W = Lanes<real>::count;
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
        const double scale = line[i], shift = line[W + i], scaled = scale * first[i];
        s1[i] += (out)(scaled + shift * sum);
        s2[i] += (out)(scale * scale * second[i] + 2 * shift * scaled + shift * shift * sum);
    }
}

// Adds Σ γ t and Σ γ t² over rows [from, to) for C components from q on, in the W dimensions of the packed column, from
// j on. LANE: q mod W. Only for `close` mixtures, for which the terms are not much larger than their sum.
template <class real, int C, int LANE, class out>
__attribute__((noinline)) void product(const Constants<real>& constants, const Scratch<real>& s, int64_t from,
                                       int64_t to, int64_t q, int64_t j, out* s0, out* s1, out* s2) {
    constexpr int W = Lanes<real>::count;
    const int64_t d = constants.d;
    vec<real> first[C] = {}, second[C] = {};
    const real *column = s.column, *gamma = s.scores + (q / W * s.capacity + from) * W;
    for (int64_t row = from; row < to; ++row, column += (1 + SQUARES) * W, gamma += W) {
        const vec<real> value = load(column), square = SQUARES ? load(column + W) : value * value;
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) {
            const vec<real> g = all(gamma[(LANE + c) / W * s.capacity * W + (LANE + c) % W]);
            first[c] += g * value;
            second[c] += g * square;
        }
    }
    real sums[C][2][W];  // a copy: the accumulators stay in registers only if their address is not taken
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) store(sums[c][0], first[c]), store(sums[c][1], second[c]);
    for (int64_t c = 0; c < C && q + c < constants.k; ++c) {
        const real* line = constants.lines + ((q + c) * constants.d_padded + j) * 2;
        const double sum = s.posterior_sums[q + c];
        if (j == 0) s0[q + c] += (out)sum;
        out *to_s1 = s1 + (q + c) * d + j, *to_s2 = s2 + (q + c) * d + j;
        if (d - j >= W)
            add_products(line, sum, sums[c][0], sums[c][1], W, to_s1, to_s2);
        else
            add_products(line, sum, sums[c][0], sums[c][1], d - j, to_s1, to_s2);
    }
}

// Adds the moments of rows [from, to) in W dimensions from j on, which are the packed column.
template <class real, class out>
void products(const Constants<real>& constants, const Scratch<real>& s, int64_t from, int64_t to, int64_t j, out* s0,
              out* s1, out* s2) {
    constexpr int W = Lanes<real>::count;
    auto add = [&](auto components, auto lane, int64_t q) {
        product<real, decltype(components)::n, decltype(lane)::n>(constants, s, from, to, q, j, s0, s1, s2);
    };
    if constexpr (ILDFV_VECTOR_BYTES == 32 && W == 8) {
        // Six components use 12 accumulators. With 8 accumulators, additions would wait for earlier additions.
        for (int64_t q = 0, step = 6; q < constants.k; q += step) {
            const int64_t left = constants.k_padded - q;
            step = left == 4 || left == 8 ? 4 : 6;
            if (step == 4)
                q % W ? add(Width<4>(), Width<4>(), q) : add(Width<4>(), Width<0>(), q);
            else
                switch (q % W) {
                    case 0: add(Width<6>(), Width<0>(), q); break;
                    case 2: add(Width<6>(), Width<2>(), q); break;
                    case 4: add(Width<6>(), Width<4>(), q); break;
                    case 6: add(Width<6>(), Width<6>(), q); break;
                }
        }
    } else {
        for (int64_t q = 0; q < constants.k; q += COMPONENTS)
            q % W ? add(Width<COMPONENTS>(), Width<COMPONENTS % W>(), q) : add(Width<COMPONENTS>(), Width<0>(), q);
    }
}

// Adds the moments of rows [from, to).
template <class real, class out>
__attribute__((noinline)) void dense_moments(const Constants<real>& constants, const Rows<real>& x, Scratch<real>& s,
                                             int64_t from, int64_t to, out* s0, out* s1, out* s2) {
    constexpr int W = Lanes<real>::count;
    for (int64_t v = 0; v < constants.k_padded; v += W) {
        vec<real> sum = {};
        for (int64_t row = from; row < to; ++row) sum += load(s.scores + (v / W * s.capacity + row) * W);
        store(s.posterior_sums + v, sum);
    }
    for (int64_t j = 0; j < constants.d; j += W) {
        lay_out_column(x, s, from, to, j);
        products(constants, s, from, to, j, s0, s1, s2);
    }
}

}  // namespace
}  // namespace ildfv
