// The kernels of csrc/cuda as a CPU library: `launch` runs a kernel by name.
#include "emulation.h"

#include "cuda/contributions.cu"
#include "cuda/em.cu"
#include "cuda/fisher.cu"
#include "cuda/moments.cu"
#include "cuda/windows.cu"

#define ILDFV_TRY(NAME) \
    if (!std::strcmp(name, #NAME)) return emulation::run(NAME, {grid_x, grid_y, 1}, threads, shared_bytes, arguments);

// 0: done; 1: no such kernel; 2: a block wrote past its shared memory; 3: not all threads reach a barrier
extern "C" int launch(const char* name, unsigned grid_x, unsigned grid_y, unsigned threads, size_t shared_bytes,
                      void** arguments) {
    ILDFV_KERNELS(ILDFV_TRY)
    ILDFV_WINDOW_KERNELS(ILDFV_TRY)
    ILDFV_FISHER_KERNELS(ILDFV_TRY)
    ILDFV_EM_KERNELS(ILDFV_TRY)
    ILDFV_CONTRIBUTION_KERNELS(ILDFV_TRY)
    return 1;
}
