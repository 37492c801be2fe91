// How maps are divided into jobs for threads.
#pragma once

#include <vector>

#include "backend.h"

namespace ildfv {
namespace {

// Descriptors per job. With JOB_ROWS, adding the sums of jobs takes little time, and a slice still has several jobs.
// WHOLE_ROWS is for whole maps, whose sums are not added to others: just enough to fill panels.
constexpr int64_t JOB_ROWS = 1024;
constexpr int64_t WHOLE_ROWS = 64;

// Segments first … last − 1, for one thread: whole maps, or one piece of a map.
struct Job {
    int64_t first, last;
    bool whole;
};

// Divides b maps into segments and jobs. They depend on the maps only, not on the number of threads.
void cut(const Map* maps, int64_t b, bool pooled, std::vector<Segment>& segments, std::vector<Job>& jobs) {
    int64_t room = 0;  // rows by which the last job can grow
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
            room = pooled ? JOB_ROWS : WHOLE_ROWS;
        }
        segments.push_back({m, 0, n});
        jobs.back().last = first + 1;
        room -= n;
    }
}

}  // namespace
}  // namespace ildfv
