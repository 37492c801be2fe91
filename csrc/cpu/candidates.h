// Where few components matter to a descriptor: which they are, and their posteriors. A panel of rows at a time:
//
//   bounds      scores from the first few dimensions                                                          (bounds.h)
//   guesses     the two components that the few dimensions alone make likeliest, and their exact scores
//   others      pairs (row, component) whose bounds reach up to what can still matter beside these; their exact scores
//   posteriors  of all pairs whose scores do matter, as entries of their components
#pragma once

#include "bounds.h"

namespace ildfv {
namespace {

// Exact scores of n pairs. Reads and writes pairs up to the next whole vector.
template <class real>
__attribute__((noinline)) void pair_scores(const Constants<real>& constants, const Rows<real>& x, const int* row, const int* component, int n, real* score) {
    constexpr int W = Lanes<real>::count, G = W < 4 ? W : 4;  // pairs at once
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
                    values[r] = x.at + row[i + g + r] * x.stride;
                    line[r] = constants.lines + component[i + g + r] * d * 2;
                }
                for (int64_t j = 0; j < d; j += W) {
                    const vec<real> shift = load(x.shift + j);
#pragma GCC unroll 4
                    for (int r = 0; r < G; ++r)
                        sum[r] = squares(sum[r], load(values[r] + j) - shift, load(line[r] + 2 * j), load(line[r] + 2 * j + W));
                }
            }
#pragma GCC unroll 4
            for (int r = 0; r < G; ++r) sums[g + r] = sum[r];
        }
        store(score + i, gather(constants.c, component + i) - (real)0.5 * (lane_sums<real>(sums) - (real)constants.d));
    }
}

// Exact scores of the rows of a panel with two components each.
template <class real>
__attribute__((noinline)) void twin_scores(const Constants<real>& constants, const Rows<real>& x, const int* component, real* score) {
    constexpr int W = Lanes<real>::count, G = 2;  // rows at once
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
                first[r] = constants.lines + component[i + g + r] * d * 2;
                second[r] = constants.lines + component[PANEL + i + g + r] * d * 2;
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
        store(score + i, gather(constants.c, component + i) - (real)0.5 * (lane_sums<real>(one) - (real)constants.d));
        store(score + PANEL + i, gather(constants.c, component + PANEL + i) - (real)0.5 * (lane_sums<real>(two) - (real)constants.d));
    }
}

// What is known of a panel's rows: two components with their scores, and the other pairs that can matter.
template <class real>
struct Panel {
    int row[2 * PANEL], component[2 * PANEL];  // of the best guess for each row, then of the second
    real score[2 * PANEL];
    int others;        // pairs beside these, in scratch
    int found[PANEL];  // pairs of each row
    real cuts[PANEL];  // scores below these do not matter
};

// With Q = Σ t² over the few dimensions, c − ½ Q bounds the score. Rounding moves t by at most δ = 4·10⁻⁷ (|t| + |b|), so
// Q by at most BOUND·Q + Σ b² · 2·10⁻¹⁰: `slack` holds that.
template <class real>
__attribute__((noinline)) void find_pairs(const Constants<real>& constants, const Rows<real>& x, int64_t count, real depth, Scratch<real>& s, Panel<real>& panel) {
    constexpr int W = Lanes<real>::count;
    const int64_t k_padded = constants.k_padded, vectors = k_padded / W;
    Rows<real> rows = x;
    if (count < PANEL) {  // rows that are there, as often as it takes
        rows = {s.tail, s.row_stride, x.shift};
        for (int64_t r = 0; r < PANEL; ++r)
            memcpy(s.tail + r * s.row_stride, x.at + smaller(r, count - 1) * x.stride, constants.d_padded * sizeof(real));
    }
    bound_panel(constants, rows.at, rows.stride, s);
    for (int r = 0; r < PANEL; r += W) guess(constants, s.bounds + r * k_padded, panel.component + r, panel.component + PANEL + r);
    for (int r = 0; r < PANEL; ++r) panel.row[r] = panel.row[PANEL + r] = r;
    twin_scores(constants, rows, panel.component, panel.score);
    for (int r = 0; r < PANEL; ++r)
        if (panel.component[r] == panel.component[PANEL + r]) panel.score[PANEL + r] = -(real)INFINITY;
    for (int r = 0; r < PANEL; r += W) {
        const vec<real> top = larger(load(panel.score + r), load(panel.score + PANEL + r));
        store(panel.cuts + r, top - depth - (real)1e-5 * (top < (real)0 ? -top : top));
    }
    int others = 0, *const component = s.pair_component;
    const real *const slack = constants.slack, *bounds = s.bounds;
    for (int r = 0; r < count; ++r, bounds += k_padded) {
        const int before = others;
        const vec<real> cut = all(panel.cuts[r]);
        for (int64_t v = 0; v < vectors; ++v) {
            const unsigned m = at_least(load(bounds + v * W) * (real)(1 - BOUND) + load(slack + v * W), cut);
            others += compress<W>(component + others, (int)(v * W), m);
        }
        repeat<W>(s.pair_row + before, r);
        for (int i = before + W; i < others; i += W) repeat<W>(s.pair_row + i, r);
        panel.found[r] = 2 + others - before;
    }
    repeat<W>(s.pair_row + others, 0);  // the last vector of pairs may be read to its end
    repeat<W>(s.pair_component + others, 0);
    panel.others = others;
}

// Adds an entry for each of n posteriors that counts.
template <class real>
inline void list(Scratch<real>& s, int first, int n, const int* row, const int* component, const real* posterior, real threshold) {
    constexpr int W = Lanes<real>::count;
    for (int i = 0; i < n; i += W) {
        const vec<real> value = load(posterior + i);
        const unsigned keep = at_least(value, all(threshold)) & first_bits(n - i);
        const int64_t at = s.entries;
        s.entries += compress<real>(s.entry_row + at, s.entry_component + at, s.entry_value + at, row + i, component + i, value, keep);
        for (int64_t e = at; e < s.entries; ++e) s.entry_row[e] += first;
    }
}

// The tops become the highest values of their rows; pairs are in the order of rows.
template <class real>
inline void raise(real* top, const int* row, const real* value, int n) {
    if (n < 4 * PANEL) {  // short runs: a branch at the end of each would be missed
        for (int i = 0; i < n; ++i) top[row[i]] = value[i] > top[row[i]] ? value[i] : top[row[i]];
        return;
    }
    for (int i = 0; i < n;) {  // long runs: in memory each value would wait for the one before
        const int r = row[i];
        real highest = top[r];
        for (; i < n && row[i] == r; ++i) highest = value[i] > highest ? value[i] : highest;
        top[r] = highest;
    }
}

// The posteriors of a panel that count, as entries of their components; `top` and `sum` of its rows.
template <class real>
__attribute__((noinline)) void panel_posteriors(const Constants<real>& constants, const Rows<real>& x, int first, int count, real threshold, Scratch<real>& s, Panel<real>& panel) {
    constexpr int W = Lanes<real>::count;
    int *row = s.pair_row, *component = s.pair_component, kept = 0;
    real *value = s.pair_value, *top = s.top + first, *sum = s.sum + first, *score = panel.score;
    for (int r = 0; r < PANEL; r += W) store(top + r, larger(load(score + r), load(score + PANEL + r)));
    if (panel.others) {
        const int n = panel.others;
        pair_scores(constants, x, row, component, n, value);
        raise(top, row, value, n);
        for (int i = 0; i < n; i += W) {  // most fall short
            const vec<real> difference = load(value + i) - pick(top, row + i);
            const unsigned keep = at_least(difference, all(-depth(threshold))) & first_bits(n - i);
            kept += compress<real>(row + kept, component + kept, value + kept, row + i, component + i, difference, keep);
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
    for (int i = 0; i < kept; ++i) sum[row[i]] += value[i];
    for (int i = 0; i < kept; i += W) store(value + i, load(value + i) / pick(sum, row + i));
    for (int r = 0; r < 2 * PANEL; r += W) store(score + r, load(score + r) / load(sum + r % PANEL));
    list(s, first, count, panel.row, panel.component, score, threshold);
    list(s, first, count, panel.row, panel.component + PANEL, score + PANEL, threshold);
    list(s, first, kept, row, component, value, threshold);
}

// Rows of one segment in a block.
struct Share {
    int64_t segment, from, n;  // descriptors [from, from + n) of that segment
    int64_t row;               // the first of them in the block
    int64_t pairs;             // that can matter, of the rows seen
    bool crowded;              // they are so many that computing all is faster
    bool hopeless;             // and so nearly all that it need not be asked again
};

// More pairs than this share of all, and computing all of them at once is faster.
constexpr double SPARSE = 0.35, HOPELESS = 0.8;

// Counts a share's pairs in the rows of a panel that are its own, of which `seen` is the end.
inline void judge(Share& share, const int* found, int64_t rows, int64_t seen, int64_t k) {
    for (int64_t r = 0; r < rows; ++r) share.pairs += found[r];
    const int64_t enough = smaller(share.n, 64);
    if ((double)share.pairs > SPARSE * (double)((seen > enough ? seen : enough) * k)) share.crowded = true;
    share.hopeless = share.crowded && (double)share.pairs > HOPELESS * (double)(seen * k);
}

// The posteriors of the shares' rows as entries of their components; those of a crowded share are not to be used. A share
// that fits into a panel is not cut, so that its sums are added in the same order whatever stands beside it.
template <class real>
void sparse_posteriors(const Constants<real>& constants, const Rows<real>& x, Share* shares, int64_t count, real threshold, Scratch<real>& s) {
    s.entries = 0;
    Panel<real> panel;
    int64_t first = 0, done = 0;  // rows before the panel; rows of *shares before it
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
        find_pairs(constants, here, rows, depth(threshold), s, panel);
        for (int64_t c = begin, row = 0; row < rows; ++c) {
            const int64_t from = c == begin ? before : 0, n = smaller(shares[c].n - from, rows - row);
            judge(shares[c], panel.found + row, n, from + n, constants.k);
            row += n;
        }
        if (count == 1 && shares[0].crowded) return;
        panel_posteriors(constants, here, (int)first, (int)rows, threshold, s, panel);
        first += rows;
    }
    s.sort(constants.k);
}

}  // namespace
}  // namespace ildfv
