// For shares that are not crowded: the posteriors of the candidates (candidates.h), as entries of their components.
#pragma once

#include <numeric>

#include "candidates.h"
#include "exponential.h"

namespace ildfv {
namespace {

// Adds an entry for each of n posteriors that is at least the threshold; `first` is the panel's first row in the block.
template <class real>
inline void list(Scratch<real>& s, int first, int n, const int* pairs, const real* posterior, real threshold) {
    constexpr int W = Lanes<real>::count;
    for (int i = 0; i < n; i += W) {
        const vec<real> value = load(posterior + i);
        const unsigned keep = at_least(value, all(threshold)) & first_bits(n - i);
        const int64_t at = s.entries;
        s.entries += compress<real>(s.entry_row + at, s.entry_value + at, pairs + i, value, keep);
        int listed[W];
        memcpy(listed, s.entry_row + at, sizeof listed);
        for (int e = 0; e < W; ++e) s.entry_row[at + e] = row_of(listed[e]) + first;
        for (int e = 0; e < W; ++e) s.entry_component[at + e] = component_of(listed[e]);
    }
}

// Lists a panel's posteriors, unless below the threshold, as entries of their components; sets `top` and `sum` of its
// rows.
template <class real>
__attribute__((noinline)) void panel_posteriors(const Constants<real>& constants, const Rows<real>& x, int first,
                                                int count, real threshold, real depth, Scratch<real>& s,
                                                Panel<real>& panel) {
    constexpr int W = Lanes<real>::count;
    int *pairs = s.pairs, kept = 0;
    real *value = s.pair_value, *top = s.top + first, *sum = s.sum + first, *score = panel.score;
    for (int r = 0; r < PANEL; r += W) store(top + r, larger(load(score + r), load(score + PANEL + r)));
    if (panel.others) {
        const int n = panel.others;
        pair_scores(constants, x, pairs, n, value);
        for (int i = 0; i < n; ++i) {
            const int r = row_of(pairs[i]);
            top[r] = value[i] > top[r] ? value[i] : top[r];
        }
        for (int i = 0; i < n; i += W) {  // most are below the threshold
            const vec<real> difference = load(value + i) - pick(top, pairs + i);
            const unsigned keep = at_least(difference, all(-depth)) & first_bits(n - i);
            kept += compress<real>(pairs + kept, value + kept, pairs + i, difference, keep);
        }
        for (int i = 0; i < kept; i += W) store(value + i, exponential(load(value + i)));
    }
    for (int r = 0; r < PANEL; r += W) {
        const vec<real> one = exponential(load(score + r) - load(top + r));
        const vec<real> two = exponential(load(score + PANEL + r) - load(top + r));
        store(score + r, one);
        store(score + PANEL + r, two);
        store(sum + r, one + two);
    }
    for (int i = 0; i < kept; ++i) sum[row_of(pairs[i])] += value[i];
    for (int i = 0; i < kept; i += W) store(value + i, load(value + i) / pick(sum, pairs + i));
    for (int r = 0; r < 2 * PANEL; r += W) store(score + r, load(score + r) / load(sum + r % PANEL));
    list(s, first, count, panel.guesses, score, threshold);
    list(s, first, count, panel.guesses + PANEL, score + PANEL, threshold);
    list(s, first, kept, pairs, value, threshold);
}

// Rows of one segment in a block.
struct Share {
    int64_t segment, from, n;  // descriptors [from, from + n) of that segment
    int64_t row;               // row of the first of them in the block
    int64_t pairs;             // number of candidates in the rows processed so far
    bool crowded;              // so many candidates that computing all pairs is faster
    bool very_crowded;         // so many candidates that later blocks are assumed to be crowded
};

// Fractions of all pairs: above SPARSE, computing all pairs is faster; above VERY_CROWDED, later blocks are assumed to
// be crowded.
constexpr double SPARSE = 0.35, VERY_CROWDED = 0.5;

// Adds the pairs found in the last panel to those of a share, and updates `crowded` from the rows processed so far.
inline void update_crowding(Share& share, int64_t found, int64_t seen, int64_t k) {
    share.pairs += found;
    const int64_t enough = smaller(share.n, 64);
    if ((double)share.pairs > SPARSE * (double)((seen > enough ? seen : enough) * k)) share.crowded = true;
    share.very_crowded = share.crowded && (double)share.pairs > VERY_CROWDED * (double)(seen * k);
}

// Lists the posteriors of the shares' rows as entries of their components; those of crowded shares are not used. A
// share that fits into a panel is not divided, so that its sums are added in the same order in any block.
template <class real>
void sparse_posteriors(const Constants<real>& constants, const Rows<real>& x, Share* shares, int64_t count,
                       real threshold, real depth, Scratch<real>& s) {
    s.entries = 0;
    Panel<real> panel;
    int64_t first = 0, done = 0;  // number of rows before the panel: in the block, and in share i
    for (int64_t i = 0; i < count;) {
        const int64_t begin = i, before = done;
        int64_t rows = 0;
        while (i < count && rows < PANEL) {
            const int64_t left = shares[i].n - done;
            if (rows > 0 && rows + left > PANEL) break;
            rows += smaller(left, PANEL - rows);
            done += smaller(left, PANEL);
            if (done == shares[i].n) ++i, done = 0;
        }
        const Rows<real> here{x.at + first * x.stride, x.stride, x.shift};
        find_pairs(constants, here, rows, depth, s, panel);
        if (before + rows <= shares[begin].n) {
            update_crowding(shares[begin], 2 * rows + panel.others, before + rows, constants.k);
        } else {                    // the panel has several complete shares
            int found[PANEL] = {};  // pairs of each row
            for (int p = 0; p < panel.others; ++p) ++found[row_of(s.pairs[p])];
            for (int64_t c = begin, row = 0; row < rows; row += shares[c++].n)
                update_crowding(shares[c], std::accumulate(found + row, found + row + shares[c].n, 2 * shares[c].n),
                                shares[c].n, constants.k);
        }
        if (count == 1 && shares[0].crowded) return;
        panel_posteriors(constants, here, (int)first, (int)rows, threshold, depth, s, panel);
        first += rows;
    }
    s.sort(constants.k);
}

}  // namespace
}  // namespace ildfv
