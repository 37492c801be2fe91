// The choice of the upper bounds of scores (bounds.h) that exclude pairs at the lowest expected cost.
#pragma once

#include <math.h>

#include "backend.h"

namespace ildfv {
namespace {

// Bounds from the `few` most discriminative dimensions. factors: per dimension and component, 2 for t², or 1 if the
// bounds are linear in the descriptor. A factor costs one FMA per pair.
struct Choice {
    int64_t few, factors;
    int64_t values() const { return few * factors; }  // per component

    // Loads limit the speed of linear bounds, so that an FMA of these costs 1.2 times as much.
    double cost() const { return (double)few * (factors == 1 ? 1.2 : 2); }
};

// Float sums of more terms could exceed the rounding errors that the bounds allow for.
constexpr int64_t LONGEST = 1024;

struct Choices {
    Choice all[5];

    explicit Choices(int64_t d)
        : all{{part(d, 5), 2}, {part(d, 9), 2}, {part(d, 5), 1}, {part(d, 9), 1}, {part(d, 16), 1}} {}

    const Choice* begin() const { return all; }
    const Choice* end() const { return all + 5; }
    const Choice& usual() const { return all[0]; }  // for activations, which have a few informative dimensions

    // Sixteenths of d, as a multiple of 4.
    static int64_t part(int64_t d, int64_t sixteenths) {
        const int64_t few = (sixteenths * d / 16 + 3) / 4 * 4, most = d < LONGEST ? d : LONGEST;
        return d < 16 || few > most ? most : few;
    }
};

// least (d,): the smallest 1/variance of all components.
struct Choosing {
    const Mixture& m;
    const View& view;
    const double *exact, *least;

    // Expected fraction of the pairs that are not excluded. It is estimated from some pairs of components i, j: for
    // descriptors of i, the bound under j is approximately normal. exact: c, (k,).
    double passing(Choice choice) const {
        constexpr int64_t SAMPLE = 64;  // components i
        constexpr double DEPTH = 17;    // nats below the score of component i, which is −d/2 on average
        const int64_t k = m.k, d = m.d;
        double sum = 0;
        int64_t pairs = 0;
        for (const int64_t step : {(int64_t)1, 1 + k / 4, 1 + k / 2})
            for (int64_t i = 0; i < k; i += 1 + (k - 1) / SAMPLE) {
                const int64_t j = (i + step) % k;
                if (i == j) continue;
                double mean = 0, variance = 0;
                for (int64_t at = 0; at < choice.few; ++at) {
                    const int64_t dim = view.order[at], one = i * d + dim, other = j * d + dim;
                    const double scale = view.scales[other] * view.scales[other], spread = m.variances[one];
                    const double apart = m.means[one] - m.means[other], from = m.means[one] - view.centre[dim];
                    const double lost = choice.factors == 1 ? scale - least[dim] : 0;
                    const double slope = scale * apart - lost * from, curve = (scale - lost) * spread;
                    mean += scale * (spread + apart * apart) - lost * (spread + from * from);
                    variance += 2 * curve * curve + 4 * slope * slope * spread;
                }
                const double limit = (double)d + 2 * DEPTH + 2 * (exact[j] - exact[i]);
                sum += 0.5 * erfc((mean - limit) / sqrt(2 * variance));
                ++pairs;
            }
        return pairs > 0 ? sum / (double)pairs : 0;
    }

    // linear: whether linear bounds may be used.
    Choice best(bool linear) const {
        constexpr double PASSED = 8;  // cost of a pair that is not excluded, in FMA per dimension
        constexpr double MOST = 0.2;  // with a larger fraction, computing all pairs is faster
        const Choices choices(m.d);
        Choice best = choices.usual();
        double lowest = INFINITY;
        for (const Choice& choice : choices) {
            const double cost = choice.cost() / (double)m.d;
            if (cost >= lowest || (choice.factors == 1 && !linear)) continue;
            const double passed = passing(choice);
            if (passed > MOST || cost + PASSED * passed >= lowest) continue;
            best = choice;
            lowest = cost + PASSED * passed;
        }
        return best;
    }
};

}  // namespace
}  // namespace ildfv
