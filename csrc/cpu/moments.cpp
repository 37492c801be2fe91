// Cuts maps into jobs, runs them on threads and adds their sums in job order: equal bits for any number of threads.
#include "moments.h"

#ifdef _OPENMP
#include <omp.h>
#endif
#include <stdlib.h>

#include <algorithm>
#include <memory>
#include <new>
#include <numeric>
#include <vector>

#include "backend.h"
#include "common/mixture.h"

namespace ildfv {
namespace {

constexpr int64_t JOB_ROWS = 1024;  // long beside the ordered addition at its end, short beside a slice

// Consecutive segments for one thread: whole maps, or one piece of a map.
struct Job {
    int64_t first, last;
    bool whole;
};

// Jobs depend on the maps alone, never on the number of threads.
void cut(const Map* maps, int64_t b, std::vector<Segment>& segments, std::vector<Job>& jobs) {
    int64_t room = 0;  // rows that the last job can still take
    for (int64_t m = 0; m < b; ++m) {
        const int64_t n = maps[m].n, pieces = (n + JOB_ROWS - 1) / JOB_ROWS, first = (int64_t)segments.size();
        if (pieces > 1) {
            for (int64_t p = 0; p < pieces; ++p) {
                segments.push_back({m, n * p / pieces, n * (p + 1) / pieces});
                jobs.push_back({first + p, first + p + 1, false});
            }
            room = 0;
            continue;
        }
        if (n > room) {
            jobs.push_back({first, first, true});
            room = JOB_ROWS;
        }
        segments.push_back({m, 0, n});
        jobs.back().last = first + 1;
        room -= n;
    }
}

// Dimensions by how far they keep the components from the overall mean, in sd of the components.
std::vector<int> most_telling_first(const Mixture& m) {
    std::vector<double> mean(m.d), telling(m.d);
    double total = 0;
    for (int64_t q = 0; q < m.k; ++q) total += m.weights[q];
    for (int64_t q = 0; q < m.k; ++q)
        for (int64_t j = 0; j < m.d; ++j) mean[j] += m.weights[q] / total * m.means[q * m.d + j];
    for (int64_t q = 0; q < m.k; ++q)
        for (int64_t j = 0; j < m.d; ++j)
            telling[j] += m.weights[q] * fabs(shift_of(m.means[q * m.d + j], mean[j], m.variances[q * m.d + j]));
    std::vector<int> order(m.d);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int i, int j) { return telling[i] > telling[j]; });
    return order;
}

struct Memory {
    void* start;
    explicit Memory(int64_t bytes) {
        if (posix_memalign(&start, 64, (size_t)(bytes > 0 ? bytes : 64)) != 0) throw std::bad_alloc();
        memset(start, 0, (size_t)(bytes > 0 ? bytes : 64));
    }
    Memory(Memory&& other) : start(other.start) { other.start = nullptr; }
    ~Memory() { free(start); }
};

struct Worker {
    std::vector<double> values;
    std::vector<unsigned char> touched;
    Memory scratch;
    Partial partial;

    Worker(int64_t k, int64_t d, int64_t scratch_bytes) : values(k + 2 * k * d), touched(k), scratch(scratch_bytes) {
        double* s0 = values.data();
        partial = {s0, s0 + k, s0 + k + k * d, touched.data(), 0.0};
    }
};

const Kernel* kernel_for(const char* wanted, bool in_double) {
    auto may_be = [&](const char* name) { return !*wanted || strcmp(wanted, name) == 0; };
#if defined(__x86_64__)
    if (may_be("avx512") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        return in_double ? &avx512_double : &avx512_float;
    if (may_be("avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return in_double ? &avx2_double : &avx2_float;
#endif
    if (may_be("baseline")) return in_double ? &baseline_double : &baseline_float;
    return nullptr;
}

}  // namespace

const char* instruction_set(const char* wanted) {
    const Kernel* kernel = kernel_for(wanted, false);
    return kernel ? kernel->isa : nullptr;
}

int64_t moments(const Map* maps, int64_t b, Element element, const Mixture& mixture, const Sums& sums,
                const Options& options) {
    const Kernel& kernel = *kernel_for(options.isa, element == kFloat64);
    const int64_t k = mixture.k, d = mixture.d;
    Memory constants(kernel.constants_bytes(k, d));
    kernel.prepare(mixture, most_telling_first(mixture).data(), constants.start);

    std::vector<Segment> segments;
    std::vector<Job> jobs;
    cut(maps, b, segments, jobs);
    const int64_t count = (int64_t)jobs.size();
    const int threads = options.threads < count ? options.threads : (int)count;

    std::vector<Worker> workers;  // made here: an exception must not leave a parallel region
    for (int i = 0; i < (threads > 1 ? threads : 1); ++i) workers.emplace_back(k, d, kernel.scratch_bytes(k, d));
    Worker total(k, d, 0);  // of the map that is being put together, or of all maps when pooled
    std::vector<int64_t> bad(count, -1);

#pragma omp parallel num_threads((int)workers.size())
    {
#ifdef _OPENMP
        Worker& own = workers[omp_get_thread_num()];
#else
        Worker& own = workers[0];
#endif
#pragma omp for ordered schedule(dynamic, 1)
        for (int64_t i = 0; i < count; ++i) {
            const Job& job = jobs[i];
            const Segment* first = segments.data() + job.first;
            const bool straight = job.whole && !options.pooled;
            const Task task{k, d, constants.start, options.threshold, maps, element, sums, straight};
            bad[i] = kernel.run(task, first, job.last - job.first, own.partial, own.scratch.start);
#pragma omp ordered
            if (!straight) {
                move_into(total.partial, own.partial, k, d);
                if (!options.pooled && first->end == maps[first->map].n) finish(sums, first->map, total.partial, k, d);
            }
        }
    }
    if (options.pooled) finish(sums, 0, total.partial, k, d);
    for (int64_t map : bad)
        if (map >= 0) return map;
    return -1;
}

}  // namespace ildfv
