// Histograms of integers and look-ups, without NumPy's conversion of every index to 64 bits.
#include <string.h>

#include <vector>

#include "slices.h"

namespace ildfv {

template <class In>
void count_values(const In* values, const unsigned char* mask, int64_t n, int64_t least, int64_t* counts,
                  int64_t bins) {
    if (mask) {
        for (int64_t i = 0; i < n;) {
            const void* found = memchr(mask + i, 1, n - i);
            if (!found) return;
            i = (const unsigned char*)found - mask;
            for (; i < n && mask[i]; ++i) ++counts[values[i] - least];
        }
        return;
    }
    // Neighbouring values are often equal. With four histograms, an addition does not wait for the previous one.
    std::vector<int> parts(4 * bins);
    int *a = parts.data(), *b = a + bins, *c = b + bins, *d = c + bins;
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        ++a[values[i] - least];
        ++b[values[i + 1] - least];
        ++c[values[i + 2] - least];
        ++d[values[i + 3] - least];
    }
    for (; i < n; ++i) ++a[values[i] - least];
    for (int64_t v = 0; v < bins; ++v) counts[v] += (int64_t)a[v] + b[v] + c[v] + d[v];
}

template <class In>
void look_up(const unsigned char* table, const In* values, int64_t n, unsigned char* out) {
    for (int64_t i = 0; i < n; ++i) out[i] = table[values[i]];
}

// Neighbouring labels are mostly equal, so whole blocks of one value are translated at once.
template <class In>
void translate(const unsigned char* table, const In* values, int64_t n, unsigned char* out, int64_t* counts) {
    constexpr int64_t BLOCK = 32;
    int64_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK) {
        const In first = values[i];
        In other = 0;
        for (int64_t j = 0; j < BLOCK; ++j) other |= (In)(values[i + j] ^ first);
        if (other == 0) {
            memset(out + i, table[first], BLOCK);
            counts[table[first]] += BLOCK;
            continue;
        }
        for (int64_t j = 0; j < BLOCK; ++j) ++counts[out[i + j] = table[values[i + j]]];
    }
    for (; i < n; ++i) ++counts[out[i] = table[values[i]]];
}

template void count_values(const uint8_t*, const unsigned char*, int64_t, int64_t, int64_t*, int64_t);
template void count_values(const uint16_t*, const unsigned char*, int64_t, int64_t, int64_t*, int64_t);
template void count_values(const int16_t*, const unsigned char*, int64_t, int64_t, int64_t*, int64_t);
template void look_up(const unsigned char*, const uint8_t*, int64_t, unsigned char*);
template void look_up(const unsigned char*, const uint16_t*, int64_t, unsigned char*);
template void translate(const unsigned char*, const uint8_t*, int64_t, unsigned char*, int64_t*);
template void translate(const unsigned char*, const uint16_t*, int64_t, unsigned char*, int64_t*);

}  // namespace ildfv
