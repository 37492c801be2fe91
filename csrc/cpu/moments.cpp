// Divides maps into jobs, runs them in threads and adds their sums in job order, which makes the result bitwise
// identical for any number of threads.
#include "moments.h"

#ifdef _OPENMP
#include <omp.h>
#endif
#include <algorithm>
#include <exception>
#include <memory>
#include <mutex>
#include <vector>

#include "jobs.h"
#include "prepared.h"

namespace ildfv {
namespace {

// Consecutive jobs, whose sums are added in order.
struct Chunk {
    int64_t first, last;
};

// Chunks for one thread. alone: the chunks are those of complete maps, and the thread writes their results. Otherwise
// the sums of each chunk are kept until all threads have finished. Threads never wait for each other.
struct Turn {
    int64_t first, last;
    bool alone;
};

constexpr int64_t CHUNKS = 32;      // per map or pooled batch: more than threads, few enough to keep all sums
constexpr int64_t ENOUGH_MAPS = 8;  // with at least this many maps, each map is processed by one thread

// Like jobs, chunks depend only on the maps. How many chunks of a map one thread processes does not change the result.
void share(const std::vector<Segment>& segments, const std::vector<Job>& jobs, int64_t b, bool pooled,
           std::vector<Chunk>& chunks, std::vector<Turn>& turns) {
    const int64_t count = (int64_t)jobs.size();
    auto map_of = [&](int64_t i) { return segments[jobs[i].first].map; };
    for (int64_t i = 0, stop; i < count; i = stop) {
        stop = pooled ? count : i + 1;
        while (!pooled && !jobs[i].whole && stop < count && map_of(stop) == map_of(i)) ++stop;
        const int64_t pieces = std::min(stop - i, CHUNKS), first = (int64_t)chunks.size();
        for (int64_t p = 0; p < pieces; ++p)
            chunks.push_back({i + (stop - i) * p / pieces, i + (stop - i) * (p + 1) / pieces});
        if (!pooled && (jobs[i].whole || b >= ENOUGH_MAPS))
            turns.push_back({first, first + pieces, true});
        else
            for (int64_t p = 0; p < pieces; ++p) turns.push_back({first + p, first + p + 1, false});
    }
}

// Sums with their memory, which is not accessed before its first use.
struct Total {
    Memory values;
    std::vector<unsigned char> touched;
    Partial partial;

    Total(int64_t k, int64_t d) : values((k + 2 * k * d) * (int64_t)sizeof(double)), touched(k) {
        double* s0 = (double*)values.start;
        partial = {s0, s0 + k, s0 + k + k * d, touched.data(), 0.0};
    }
};

// The state of a thread: the sums of a job, of a chunk and of a map.
struct Worker {
    Total job, chunk, map;
    Memory scratch;

    Worker(int64_t k, int64_t d, int64_t scratch_bytes) : job(k, d), chunk(k, d), map(k, d), scratch(scratch_bytes) {}
};

}  // namespace

const char* instruction_set(const char* wanted) {
    const Kernel* kernel = kernel_for(wanted, false);
    return kernel ? kernel->isa : nullptr;
}

int64_t moments(const Map* maps, int64_t b, Element element, const Mixture& mixture, const Sums& sums,
                const Options& options) {
    const int64_t k = mixture.k, d = mixture.d;
    const std::shared_ptr<const Prepared> kept_mixture = prepared_for(mixture, options.isa, element == FLOAT64);
    const Prepared& prepared = *kept_mixture;
    std::unique_ptr<const Prepared> precise;  // for jobs that need double precision
    std::once_flag once;

    std::vector<Segment> segments;
    std::vector<Job> jobs;
    cut(maps, b, options.pooled, segments, jobs);
    std::vector<Chunk> chunks;
    std::vector<Turn> turns;
    share(segments, jobs, b, options.pooled, chunks, turns);
    const int64_t count = (int64_t)turns.size();
    const int threads = options.threads < count ? options.threads : (int)count;

    std::vector<Worker> workers;
    for (int i = 0; i < (threads > 1 ? threads : 1); ++i)
        workers.emplace_back(k, d, prepared.kernel.scratch_bytes(k, d));
    std::vector<std::unique_ptr<Total>> kept(count);  // sums of the turns that are not `alone`
    for (int64_t t = 0; t < count; ++t)
        if (!turns[t].alone) kept[t] = std::make_unique<Total>(k, d);
    std::vector<int64_t> bad(jobs.size(), -1);

    auto compute = [&](int64_t i, Partial& to,
                       Worker& own) {  // `to` is empty, or is not used because the job is straight (`Task`)
        const Job& job = jobs[i];
        const Segment* first = segments.data() + job.first;
        const bool straight = job.whole && !options.pooled;
        Task task{k, d, prepared.constants.start, options.threshold, maps, element, sums, straight, nullptr};
        bad[i] = prepared.kernel.run(task, first, job.last - job.first, to, own.scratch.start);
        if (bad[i] != IMPRECISE) return;
        bad[i] = -1;
        std::call_once(once, [&] { precise.reset(new Prepared(mixture, options.isa, true)); });
        Task in_double = task;
        in_double.constants = precise->constants.start;
        const Memory scratch(precise->kernel.scratch_bytes(k, d));
        // One map at a time: a map's result must not depend on the other maps of the batch.
        const int64_t all = job.last - job.first, together = straight ? 1 : all;
        for (int64_t s = 0; s < all && bad[i] < 0; s += together) {
            clear(to, k);
            if (straight && all > 1) {
                bad[i] = prepared.kernel.run(task, first + s, 1, to, own.scratch.start);
                if (bad[i] != IMPRECISE) continue;
                clear(to, k);
            }
            bad[i] = precise->kernel.run(in_double, first + s, together, to, scratch.start);
        }
    };
    auto map_of = [&](const Turn& turn) { return segments[jobs[chunks[turn.first].first].first].map; };
    auto take = [&](int64_t t, Worker& own) {
        const Turn& turn = turns[t];
        const bool straight = !options.pooled && jobs[chunks[turn.first].first].whole;
        for (int64_t c = turn.first; c < turn.last; ++c) {
            Partial& sum = !turn.alone ? kept[t]->partial : c == turn.first ? own.map.partial : own.chunk.partial;
            for (int64_t i = chunks[c].first; i < chunks[c].last; ++i) {
                Partial& part = i == chunks[c].first ? sum : own.job.partial;
                compute(i, part, own);
                if (&part != &sum && !straight) move_into(sum, part, k, d);
            }
            if (&sum == &own.chunk.partial && !straight) move_into(own.map.partial, sum, k, d);
        }
        if (turn.alone && !straight) finish(sums, map_of(turn), own.map.partial, k, d);
    };

    std::exception_ptr failed;  // such as std::bad_alloc: an exception must not leave a parallel region
#pragma omp parallel for num_threads((int)workers.size()) schedule(dynamic, 1)
    for (int64_t t = 0; t < count; ++t) {
        try {
#ifdef _OPENMP
            take(t, workers[omp_get_thread_num()]);
#else
            take(t, workers[0]);
#endif
        } catch (...) {
#pragma omp critical
            failed = std::current_exception();
        }
    }
    if (failed) std::rethrow_exception(failed);

    Partial& total = workers[0].map.partial;
    for (int64_t t = 0; t < count; ++t) {
        if (turns[t].alone) continue;
        move_into(total, kept[t]->partial, k, d);
        const bool last = t + 1 == count || map_of(turns[t + 1]) != map_of(turns[t]);
        if (!options.pooled && last) finish(sums, map_of(turns[t]), total, k, d);
    }
    if (options.pooled) finish(sums, 0, total, k, d);
    for (int64_t map : bad)
        if (map >= 0) return map;
    return -1;
}

}  // namespace ildfv
