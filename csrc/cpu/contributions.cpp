// Contributions of descriptors to linear functionals of their map's moments: runs the kernel for each job (jobs.h).
#include "moments.h"

#ifdef _OPENMP
#include <omp.h>
#endif
#include <exception>
#include <memory>
#include <mutex>
#include <vector>

#include "jobs.h"
#include "prepared.h"

namespace ildfv {
namespace {

// The functionals of all maps, laid out for a kernel, and their sums over dimensions.
struct Lines {
    std::vector<Memory> memory;
    std::vector<const void*> lines;
    std::vector<double> all_sums;
    std::vector<const double*> sums;

    Lines(const Kernel& kernel, const double* first, const double* second, int64_t b, bool per_map, int64_t k,
          int64_t d, int64_t count) {
        const int64_t size = count * k * d;
        all_sums.resize((per_map ? b : 1) * k * count);
        for (int64_t m = 0; m < b; ++m) {
            double* own = all_sums.data() + (per_map ? m * k * count : 0);
            if (m == 0 || per_map) {
                memory.emplace_back(kernel.lines_bytes(k, d, count));
                kernel.lay_out(first + m * size, second + m * size, k, d, count, memory.back().start, own);
            }
            lines.push_back(memory.back().start);
            sums.push_back(own);
        }
    }
};

}  // namespace

int64_t contributions(const Map* maps, int64_t b, Element element, const Mixture& mixture,
                      const LinearFunctionals& given, double* const* out, const Options& options) {
    const int64_t k = mixture.k, d = mixture.d, count = given.count;
    const std::shared_ptr<const Prepared> kept = prepared_for(mixture, options.isa, element == FLOAT64);
    const Lines lines(kept->kernel, given.first, given.second, b, given.per_map, k, d, count);
    const Functionals functionals{count, lines.lines.data(), lines.sums.data(), out};

    std::vector<Segment> segments;
    std::vector<Job> jobs;
    cut(maps, b, false, segments, jobs);
    const int64_t number = (int64_t)jobs.size();
    const int threads = options.threads < number ? options.threads : (int)number;
    std::vector<Memory> scratch;
    for (int i = 0; i < (threads > 1 ? threads : 1); ++i) scratch.emplace_back(kept->kernel.scratch_bytes(k, d));
    std::unique_ptr<const Prepared> precise;  // for jobs that need double
    std::unique_ptr<const Lines> precise_lines;
    std::once_flag once;
    std::vector<int64_t> bad(number, -1);
    Partial none{};  // nothing is summed

    auto compute = [&](int64_t i, void* memory) {
        const Job& job = jobs[i];
        Task task{k, d, kept->constants.start, options.threshold, maps, element, {}, true, &functionals};
        bad[i] = kept->kernel.run(task, segments.data() + job.first, job.last - job.first, none, memory);
        if (bad[i] != IMPRECISE) return;
        std::call_once(once, [&] {
            precise.reset(new Prepared(mixture, options.isa, true));
            precise_lines.reset(new Lines(precise->kernel, given.first, given.second, b, given.per_map, k, d, count));
        });
        const Functionals in_double{count, precise_lines->lines.data(), precise_lines->sums.data(), out};
        task.constants = precise->constants.start;
        task.functionals = &in_double;
        const Memory own(precise->kernel.scratch_bytes(k, d));
        bad[i] = precise->kernel.run(task, segments.data() + job.first, job.last - job.first, none, own.start);
    };

    std::exception_ptr failed;  // an exception must not leave a parallel region
#pragma omp parallel for num_threads((int)scratch.size()) schedule(dynamic, 1)
    for (int64_t i = 0; i < number; ++i) {
        try {
#ifdef _OPENMP
            compute(i, scratch[omp_get_thread_num()].start);
#else
            compute(i, scratch[0].start);
#endif
        } catch (...) {
#pragma omp critical
            failed = std::current_exception();
        }
    }
    if (failed) std::rethrow_exception(failed);
    for (int64_t map : bad)
        if (map >= 0) return map;
    return -1;
}

}  // namespace ildfv
