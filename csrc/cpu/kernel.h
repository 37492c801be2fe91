// The kernel, compiled for each instruction set and precision: included by baseline.cpp, avx2.cpp and avx512.cpp.
//
// Terms, also in the files that it includes:
//   segment         consecutive descriptors of one map
//   row             one descriptor, copied to scratch memory or read in place
//   block           the rows that are computed together: a piece of one segment, or several short segments
//   share           the rows of one segment in a block
//   panel           32 consecutive rows of a block, whose relevant pairs are selected together
//   pair            a row and a component; relevant if its posterior may reach the threshold
//   entry           a pair whose posterior is at least the threshold, listed with this posterior
//   crowded share   a share with so many relevant pairs that it is faster to compute all pairs
//   few dimensions  the most discriminative dimensions, which give upper bounds of scores
//
// Shares are computed in one of two ways:
//   not crowded     relevant pairs are selected by bounds; their posteriors and moments      (posteriors.h, sparse.h)
//   crowded         all scores; all posteriors; moments from entries or as matrix products   (scores.h, dense.h)
#pragma once

#include "constants.h"
#include "contributions.h"
#include "dense.h"
#include "likelihood.h"
#include "rows.h"
#include "scores.h"
#include "scratch.h"
#include "sparse.h"

namespace ildfv {
namespace {

// Address of descriptor `at` of the map of a segment, if descriptors are contiguous in memory; otherwise null.
inline const char* place(const Task& task, const Segment& piece, int64_t at) {
    const Map& map = task.maps[piece.map];
    return map.dim_stride == 1 && map.row_stride > 0 ? (const char*)map.data + at * map.row_stride * SIZES[task.element]
                                                     : nullptr;
}

constexpr int64_t SHORT = 256;  // maximum number of rows of a crowded share, or of a block of several segments
constexpr int64_t AHEAD = 64;   // distance of prefetching in rows; maps are usually contiguous in memory
constexpr double LISTED = 0.4;  // fraction of posteriors above 0 up to which entries are faster than matrix products

// One job (jobs.h): its segments, processed block by block. A block of several segments has only segments that are not
// longer than a panel. How a segment is divided and summed does not depend on its neighbours, so that equal maps have
// bitwise equal sums.
template <class real>
struct Job {
    const Task& task;
    const Segment* segments;
    int64_t count;  // of segments
    Partial& partial;
    const Constants<real> constants;
    const real reach;  // a component is irrelevant if its score is this far below the best score of the row
    Scratch<real> s;
    int64_t segment = 0, at = 0;  // the next row
    int64_t bad = -1;
    Share shares[SHORT];

    Job(const Task& task, const Segment* segments, int64_t count, Partial& partial, void* memory)
        : task(task), segments(segments), count(count), partial(partial),
          constants((void*)task.constants, task.k, task.d), reach(depth<real>(task.threshold, task.k)),
          s(memory, task.k, task.d), at(segments[0].begin) {}

    real threshold() const { return (real)task.threshold; }

    void take(int64_t n, int64_t row, int64_t number) {
        shares[number] = {segment, at, n, row, 0, false, false};
        at += n;
        if (at == segments[segment].end && ++segment < count) at = segments[segment].begin;
    }

    // Selects the next block, of at most `most` rows. Returns the number of its shares.
    int64_t cut(int64_t most) {
        const int64_t left = segments[segment].end - at;
        if (segments[segment].end - segments[segment].begin > PANEL) {
            const int64_t pieces = (left + most - 1) / most;  // as few as possible, of equal length
            take((left + pieces - 1) / pieces, 0, 0);
            return 1;
        }
        int64_t number = 0, rows = 0;
        while (segment < count) {
            const int64_t n = segments[segment].end - at;
            if (n > PANEL || (rows > 0 && rows + n > smaller(most, SHORT))) break;
            take(n, rows, number++);
            rows += n;
        }
        return number;
    }

    // Copies the descriptors of a share, minus `centre`, to scratch memory.
    void lay_out_less(const real* centre, const Share& share, int64_t row) {
        const int64_t map = segments[share.segment].map;
        if (!lay_out(task.maps[map], task.element, share.from, share.n, row, centre, task.d, s) && bad < 0) bad = map;
    }

    // Selects the next block for prefetching.
    void look_ahead() {
        s.ahead = segment < count ? place(task, segments[segment], at) : nullptr;
        s.ahead_bytes = task.d * SIZES[task.element];
    }

    // The first row of a block if all rows can be used in place, else null.
    const real* rows_in_place(int64_t number) {
        const bool usable =
            sizeof(real) == 4 && task.element == FLOAT32 && number == 1 && constants.d == constants.d_padded;
        return usable ? (const real*)place(task, segments[shares[0].segment], shares[0].from) : nullptr;
    }

    // The rows of a block: in place if possible, otherwise copied to scratch memory, minus the base (constants.h).
    Rows<real> rows_of(int64_t number) {
        if (const real* here = *constants.raw ? rows_in_place(number) : nullptr) {
            const int64_t stride = task.maps[segments[shares[0].segment].map].row_stride;
            s.ahead = (const char*)(here + AHEAD * stride);
            s.ahead_bytes = task.d * (int64_t)sizeof(real);
            return {here, stride, constants.rest};
        }
        look_ahead();
        for (int64_t i = 0; i < number; ++i) lay_out_less(constants.base, shares[i], shares[i].row);
        return {s.rows, s.row_stride, constants.rest};
    }

    const double* weights_of(const Share& share) const {
        const double* weights = task.maps[segments[share.segment].map].weights;
        return weights ? weights + share.from : nullptr;
    }

    // Writes the weights of the rows of a share: 1 if its map has no weights. Returns whether the map has weights.
    bool lay_out_weights(const Share& share) {
        const double* weights = weights_of(share);
        for (int64_t r = 0; r < share.n; ++r) s.weight[share.row + r] = weights ? (real)weights[r] : (real)1;
        return weights != nullptr;
    }

    // Adds the sums of a share in a block of `rows` rows. product: whether to compute moments as matrix products.
    void add(const Share& share, const Rows<real>& x, int64_t rows, bool product) {
        const int64_t k = task.k, d = task.d, from = share.row, to = share.row + share.n;
        const Segment& piece = segments[share.segment];
        if (task.functionals) {
            explain(constants, x, s, from, to, *task.functionals, piece.map, share.from);
            return;
        }
        const bool ends = share.from + share.n == piece.end;
        const bool inside = task.straight && ends && share.from == piece.begin;
        const double likelihood = weights_of(share) ? weighted_log_likelihood(s, from, to, *constants.offset)
                                                    : log_likelihood(s, from, to, *constants.offset);
        if (inside && !task.sums.in_double) {
            const Sums& sums = task.sums;
            float* s0 = (float*)sums.s0 + piece.map * k;
            float *s1 = (float*)sums.s1 + piece.map * sums.by_map, *s2 = (float*)sums.s2 + piece.map * sums.by_map;
            if (product) {
                for (int64_t q = 0; q < k; ++q) clear_component(s0, s1, s2, q, d);
                dense_moments(constants, x, s, from, to, s0, s1, s2);
            } else {
                sparse_moments(constants, x, s, from, to, rows, s0, s1, s2, (unsigned char*)nullptr);
            }
            ((float*)sums.log_likelihood)[piece.map] = (float)likelihood;
            return;
        }
        if (product) {
            touch_all(partial, k, d);
            dense_moments(constants, x, s, from, to, partial.s0, partial.s1, partial.s2);
        } else {
            sparse_moments(constants, x, s, from, to, rows, partial.s0, partial.s1, partial.s2, partial.touched);
        }
        partial.log_likelihood += likelihood;
        if (task.straight && ends) finish(task.sums, piece.map, partial, k, d);
    }

    // Adds the sums of the shares that are not crowded. False if the precision of `real` is insufficient.
    bool add_sparse(int64_t number) {
        const Rows<real> x = rows_of(number);
        sparse_posteriors(constants, x, shares, number, threshold(), reach, s);
        const int64_t rows = shares[number - 1].row + shares[number - 1].n;
        bool weighted = false;
        for (int64_t i = 0; i < number; ++i) weighted |= lay_out_weights(shares[i]);
        if (weighted && !(number == 1 && shares[0].crowded)) weight_entries(s);
        for (int64_t i = 0; i < number; ++i) {
            if (shares[i].crowded) continue;
            if (!precise(s, shares[i].row, shares[i].row + shares[i].n)) return false;
            add(shares[i], x, rows, false);
        }
        return true;
    }

    // Adds the sums of the crowded shares. False if the precision of `real` is insufficient.
    bool add_dense(int64_t number) {
        int64_t rows = 0;
        const real* taken = *constants.near ? constants.none : constants.centre;
        const real* left = *constants.near ? constants.centre : constants.none;
        Rows<real> x{s.rows, s.row_stride, left};
        const real* here = *constants.near ? rows_in_place(number) : nullptr;
        if (here) x = {here, task.maps[segments[shares[0].segment].map].row_stride, left};
        for (int64_t i = 0; i < number; ++i) {
            if (!shares[i].crowded) continue;
            if (!here) lay_out_less(taken, shares[i], shares[i].row = rows);
            rows += shares[i].n;
        }
        if (rows == 0) return true;
        look_ahead();
        score(constants, x, rows, s);
        posteriors(constants, s, rows, threshold());
        if (!precise(s, 0, rows)) return false;
        for (int64_t i = 0; i < number; ++i)  // shares that are not crowded have no rows in this block
            if (shares[i].crowded && lay_out_weights(shares[i]))
                weight_rows(constants, s, shares[i].row, shares[i].row + shares[i].n);
        bool listed = false;
        for (int64_t i = 0; i < number; ++i) {
            if (!shares[i].crowded) continue;
            if (task.functionals) {
                const Share& share = shares[i];
                explain_rows(constants, x, s, share.row, share.row + share.n, *task.functionals,
                             segments[share.segment].map, share.from);
                continue;
            }
            const int64_t from = shares[i].row, to = from + shares[i].n;
            const bool product = *constants.close && shares[i].n >= 16 && density(constants, s, from, to) > LISTED;
            if (!product && !listed) list_posteriors(constants, s, rows), listed = true;
            add(shares[i], x, rows, product);
        }
        return true;
    }

    // Returns the index of the first map that is not finite, or −1, or IMPRECISE.
    int64_t run() {
        // At threshold 0, all pairs are relevant. With few components, even two pairs per row are too many.
        const bool always = reach == (real)INFINITY || 2 > SPARSE * (double)task.k;
        bool very_crowded = always, crowded = always;
        while (segment < count) {
            if (at == segments[segment].begin) very_crowded = crowded = always;
            int64_t number = cut(crowded ? smaller(SHORT, s.block) : s.block);
            for (int64_t i = 0; i < number; ++i) shares[i].crowded = very_crowded;
            if (!very_crowded && !add_sparse(number)) return IMPRECISE;
            if (shares[0].crowded && shares[0].n > SHORT) {  // compute its first rows again, as a short block
                segment = shares[0].segment;
                at = shares[0].from;
                very_crowded = shares[0].very_crowded;
                number = cut(SHORT);
                shares[0].crowded = true;
            }
            if (!add_dense(number)) return IMPRECISE;
            crowded = shares[number - 1].crowded;
            very_crowded = always || (number == 1 && (very_crowded || shares[0].very_crowded));
        }
        return bad;
    }
};

template <class real>
int64_t run(const Task& task, const Segment* segments, int64_t count, Partial& partial, void* memory) {
    return Job<real>(task, segments, count, partial, memory).run();
}

template <class real>
int64_t constants_bytes(int64_t k, int64_t d) {
    return Constants<real>(nullptr, k, d).bytes;
}

template <class real>
int64_t scratch_bytes(int64_t k, int64_t d) {
    return Scratch<real>(nullptr, k, d).bytes;
}

template <class real>
constexpr Kernel kernel(const char* isa) {
    return {isa,           constants_bytes<real>, scratch_bytes<real>,
            prepare<real>, lines_bytes<real>,     lay_out_functionals<real>,
            run<real>};
}

}  // namespace
}  // namespace ildfv
