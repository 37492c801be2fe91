// The candidates of each row: the components whose posteriors may reach the threshold. For one panel at a time:
//
//   bounds      of the scores, from the few dimensions                                                       (bounds.h)
//   guesses     the two likeliest components of each row in the few dimensions, and their exact scores
//   others      further pairs (row, component) whose bounds, compared with these scores, allow a relevant posterior
//   posteriors  of all pairs with sufficient scores, as entries of their components                      (posteriors.h)
#pragma once

#include <limits>

#include "bounds.h"

namespace ildfv {
namespace {

// c − ½ (Σ t² − d) of W pairs, where the lanes hold partial sums of t².
template <class real>
inline vec<real> scores_of(const Constants<real>& constants, const int* pairs, vec<real>* sums) {
    return gather<PANEL>(constants.c, constants.k_padded, pairs) -
           (real)0.5 * (lane_sums<real>(sums) - (real)constants.d);
}

// Exact scores of n pairs. Reads and writes whole vectors of pairs, even if n is not a multiple of W.
template <class real>
__attribute__((noinline)) void pair_scores(const Constants<real>& constants, const Rows<real>& x, const int* pairs,
                                           int n, real* score) {
    constexpr int W = Lanes<real>::count, G = W < 4 ? W : 4;  // G: pairs that are computed together
    const int64_t d = constants.d_padded;
    for (int i = 0; i < n; i += W) {
        vec<real> sums[W];
#pragma GCC unroll 4
        for (int g = 0; g < W; g += G) {
            const real *values[G], *line[G];
            vec<real> sum[G] = {};
            if (i + g < n) {
#pragma GCC unroll 4
                for (int r = 0; r < G; ++r) {
                    values[r] = x.at + row_of(pairs[i + g + r]) * x.stride;
                    line[r] = constants.lines + component_of(pairs[i + g + r]) * d * 2;
                }
                for (int64_t j = 0; j < d; j += W) {
                    const vec<real> shift = load(x.shift + j);
#pragma GCC unroll 4
                    for (int r = 0; r < G; ++r)
                        sum[r] = squares(sum[r], load(values[r] + j) - shift, load(line[r] + 2 * j),
                                         load(line[r] + 2 * j + W));
                }
            }
#pragma GCC unroll 4
            for (int r = 0; r < G; ++r) sums[g + r] = sum[r];
        }
        store(score + i, scores_of(constants, pairs + i, sums));
    }
}

// Exact scores of the guesses: the rows of a panel with their first guess, then with their second guess.
template <class real>
__attribute__((noinline)) void guess_scores(const Constants<real>& constants, const Rows<real>& x, const int* pairs,
                                            real* score) {
    constexpr int W = Lanes<real>::count, G = 2;  // G: rows that are computed together
    const int64_t d = constants.d_padded;
    for (int i = 0; i < PANEL; i += W) {
        vec<real> one[W], two[W];
#pragma GCC unroll 8
        for (int g = 0; g < W; g += G) {
            const real *values[G], *first[G], *second[G];
            vec<real> a[G] = {}, b[G] = {};
#pragma GCC unroll 2
            for (int r = 0; r < G; ++r) {
                values[r] = x.at + (i + g + r) * x.stride;
                first[r] = constants.lines + component_of(pairs[i + g + r]) * d * 2;
                second[r] = constants.lines + component_of(pairs[PANEL + i + g + r]) * d * 2;
            }
            for (int64_t j = 0; j < d; j += W) {
                const vec<real> shift = load(x.shift + j);
#pragma GCC unroll 2
                for (int r = 0; r < G; ++r) {
                    const vec<real> y = load(values[r] + j) - shift;
                    a[r] = squares(a[r], y, load(first[r] + 2 * j), load(first[r] + 2 * j + W));
                    b[r] = squares(b[r], y, load(second[r] + 2 * j), load(second[r] + 2 * j + W));
                }
            }
#pragma GCC unroll 2
            for (int r = 0; r < G; ++r) one[g + r] = a[r], two[g + r] = b[r];
        }
        store(score + i, scores_of(constants, pairs + i, one));
        store(score + PANEL + i, scores_of(constants, pairs + PANEL + i, two));
    }
}

// The candidates of a panel's rows: two components per row with their scores, and the number of other relevant pairs.
template <class real>
struct Panel {
    int guesses[2 * PANEL];  // pairs of the rows with their first guess, then with their second guess
    real score[2 * PANEL];
    real cuts[PANEL];  // pairs with lower scores are irrelevant
    int others;        // number of further pairs, in scratch
};

// Adds to the cuts what linear bounds omit, ½ Σ α y² over the few dimensions, less the rounding errors of the bounds.
template <class real>
void add_common(const Constants<real>& constants, const Rows<real>& rows, real* cuts) {
    constexpr int W = Lanes<real>::count;
    for (int i = 0; i < PANEL; i += W) {
        vec<real> sums[W] = {};
        for (int r = 0; r < W; ++r)
            for (int64_t j = 0; j < constants.d_padded; j += W) {
                const vec<real> y = load(rows.at + (i + r) * rows.stride + j) * load(constants.common + j);
                sums[r] += y * y;
            }
        store(cuts + i, load(cuts + i) + (real)(1 - 2e-4) * lane_sums<real>(sums));
    }
}

// Finds the candidates of `count` rows. With Q = Σ t² over the few dimensions, c − ½ Q is an upper bound of the score.
// Rounding changes t by at most δ = 4·10⁻⁷ (|t| + |b|), and thus Q by at most BOUND·Q + Σ b² · 2·10⁻¹⁰, which is
// included in `slack`. Linear bounds replace Q by a smaller number; their rounding errors are in `slack` and in the cuts.
template <class real>
__attribute__((noinline)) void find_pairs(const Constants<real>& constants, const Rows<real>& x, int64_t count,
                                          real depth, Scratch<real>& s, Panel<real>& panel) {
    constexpr int W = Lanes<real>::count;
    Rows<real> rows = x;
    if (count < PANEL) {  // fill the panel by repeating its last row
        rows = {s.tail, s.row_stride, x.shift};
        for (int64_t r = 0; r < PANEL; ++r)
            memcpy(s.tail + r * s.row_stride, x.at + smaller(r, count - 1) * x.stride,
                   constants.d_padded * sizeof(real));
    }
    if (constants.linear)
        bound_panel<real, true>(constants, rows.at, rows.stride, s);
    else
        bound_panel<real, false>(constants, rows.at, rows.stride, s);
    for (int r = 0; r < PANEL; r += W) guess(constants, s.likelihoods, r, panel.guesses + r, panel.guesses + PANEL + r);
    guess_scores(constants, rows, panel.guesses, panel.score);
    for (int r = 0; r < PANEL; ++r)
        if (panel.guesses[r] == panel.guesses[PANEL + r]) panel.score[PANEL + r] = -(real)INFINITY;
    for (int r = 0; r < PANEL; r += W) {
        const vec<real> top = larger(load(panel.score + r), load(panel.score + PANEL + r));
        // The cut is finite or NaN, so that scores of −∞, such as those of the padding, are below it.
        const vec<real> cut = top - depth - (real)1e-5 * (top < (real)0 ? -top : top);
        store(panel.cuts + r, larger(all(-std::numeric_limits<real>::max()), cut));
    }
    if (constants.linear) add_common(constants, rows, panel.cuts);
    int others = 0, *const pairs = s.pairs;
    const real* bounds = s.likelihoods;
    for (int64_t first = 0; first < constants.k_padded; first += W, bounds += PANEL * W) {  // W components stay in L1
        const vec<real> slack = load(constants.slack + first);
        for (int r = 0; r < count; ++r) {
            const unsigned m = at_least(load(bounds + r * W) * constants.kept() + slack, all(panel.cuts[r]));
            others += compress<PANEL>(pairs + others, (int)first * PANEL + r, m);
        }
    }
    for (int i = 0; i < W; ++i) pairs[others + i] = 0;  // the last vector of pairs may be read completely
    panel.others = others;
}

}  // namespace
}  // namespace ildfv
