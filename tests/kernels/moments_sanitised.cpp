// Runs the C++ kernel over shapes, element types, layouts and instruction sets; compiled with sanitisers by
// test_moments_sanitised.py. Every map is a separate buffer of exactly the required size.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <memory>
#include <random>
#include <vector>

#include "cpu/moments.h"

using namespace ildfv;

namespace {

std::mt19937 source(0);
double normal() { return std::normal_distribution<double>()(source); }

struct Case {
    int64_t b, n, d, k;
    double spread, threshold, far;
    bool ragged, channel_first, pooled, reversed = false;
    bool finite() const { return far < 1e15; }  // else scores may be −∞ and sums infinite
};

void store(char* to, Element element, double value) {
    const float f = (float)value;
    if (element == FLOAT32) memcpy(to, &f, 4);
    if (element == FLOAT64) memcpy(to, &value, 8);
    if (element == BFLOAT16) memcpy(to, (const char*)&f + 2, 2);
    if (element == UINT8) *to = (char)(unsigned char)fabs(10 * value);
    if (element == FLOAT16) {
        const uint16_t h = (uint16_t)(0x3c00 | (source() & 0x83ff));
        memcpy(to, &h, 2);
    }
}

bool run(const Case& c, Element element, const char* isa, int threads) {
    const int64_t size[] = {4, 8, 2, 2, 1}, s = size[element];
    std::vector<double> weights(c.k, 1.0 / (double)c.k), means(c.k * c.d), variances(c.k * c.d);
    for (double& m : means) m = c.spread * normal();
    for (double& v : variances) v = exp(0.3 * normal());
    std::vector<std::unique_ptr<char[]>> memory;
    std::vector<Map> maps;
    int64_t total = 0;
    for (int64_t i = 0; i < c.b; ++i) {
        const int64_t n = c.ragged ? 1 + (int64_t)(source() % (unsigned)(2 * c.n)) : c.n;
        memory.emplace_back(new char[(size_t)(n * c.d * s)]);
        for (int64_t r = 0; r < n; ++r) {
            const int64_t q = source() % c.k;
            for (int64_t j = 0; j < c.d; ++j) {
                const double x = (means[q * c.d + j] + normal()) * (r % 50 == 7 || !c.finite() ? c.far : 1.0);
                store(memory.back().get() + (c.channel_first ? j * n + r : r * c.d + j) * s, element, x);
            }
        }
        const int64_t by_row = c.channel_first ? 1 : c.d, by_dim = c.channel_first ? n : 1;
        maps.push_back(c.reversed ? Map{memory.back().get() + (n * c.d - 1) * s, n, -by_row, -by_dim}
                                  : Map{memory.back().get(), n, by_row, by_dim});
        total += n;
    }
    const bool wide = c.pooled || element == FLOAT64;
    const int64_t rows = c.pooled ? 1 : c.b, bytes = wide ? 8 : 4;
    const char dirt = 0x7f;  // large numbers, to detect sums that are not written
    std::vector<char> s0(rows * c.k * bytes, dirt), s1(rows * c.k * c.d * bytes, dirt), s2(s1), l(rows * bytes, dirt);
    const int64_t bad = moments(maps.data(), c.b, element, {c.k, c.d, weights.data(), means.data(), variances.data()},
                                {s0.data(), s1.data(), s2.data(), l.data(), wide, c.k * c.d}, {c.threshold, c.pooled, threads, isa});
    auto value = [&](const std::vector<char>& of, int64_t i) { return wide ? ((const double*)of.data())[i] : ((const float*)of.data())[i]; };
    if (!c.finite()) return true;
    double sum = 0;
    for (int64_t i = 0; i < rows * c.k; ++i) sum += value(s0, i);
    for (int64_t i = 0; i < rows * c.k * c.d; ++i)
        if (!(fabs(value(s1, i)) < 1e30 && fabs(value(s2, i)) < 1e30)) return false;
    return bad == -1 && fabs(sum - (double)total) < 0.01 * (double)total;
}

}  // namespace

int main() {
    int runs = 0;
    for (const char* isa : {"avx512", "avx2", "baseline"}) {
        if (!instruction_set(isa)) continue;
        printf("%s ", isa);
        for (const Case& c : {
                 Case{3, 300, 64, 32, 1, 1e-6, 1, false, false, false}, Case{3, 300, 64, 32, 0.02, 1e-6, 1, false, false, false},
                 Case{2, 1500, 13, 5, 1, 1e-6, 1, true, false, false}, Case{2, 1500, 13, 5, 0.1, 0, 1, true, true, true},
                 Case{40, 1, 70, 9, 1, 1e-6, 1, false, false, false}, Case{40, 3, 7, 33, 0.1, 1e-6, 1, true, false, true},
                 Case{1, 1, 1, 1, 1, 1e-6, 1, false, false, false}, Case{2, 33, 1030, 3, 1, 1e-6, 1, true, true, false},
                 Case{2, 700, 20, 70, 1, 1e-6, 1e4, true, false, false}, Case{2, 257, 256, 17, 1, 1e-3, 1, false, true, false},
                 Case{2, 1100, 20, 7, 1, 1e-6, 1e6, true, true, true}, Case{2, 100, 30, 6, 4, 0, 1, false, false, false}, Case{2, 40, 1, 200, 1, 1e-6, 1, true, false, false},
                 Case{2, 3, 4096, 32, 1, 1e-6, 1, true, false, false}, Case{3, 300, 64, 32, 1, 1e-6, 1, true, false, false, true},
                 Case{2, 169, 33, 17, 0.02, 1e-6, 1, true, true, true, true}, Case{40, 3, 20, 9, 1, 1e-6, 1e20, true, false, false},
                 Case{64, 1, 64, 30, 1, 1e-6, 1e20, false, false, false}, Case{9, 8, 20, 6, 1, 1e-6, 1e160, false, false, true},
             })
            for (int element = FLOAT32; element <= UINT8; ++element)
                for (int threads : {1, 3}) {
                    ++runs;
                    if (!run(c, (Element)element, isa, threads)) {
                        printf("wrong: %s, element %d, b %d n %d d %d k %d\n", isa, element, (int)c.b, (int)c.n, (int)c.d, (int)c.k);
                        return 1;
                    }
                }
    }
    printf("%d\n", runs);
    return runs == 0;
}
