// Launches the kernels of this folder by name. nvcc compiles this file when ildfv is installed with ILDFV_CUDA=1.
#include <cuda_runtime.h>
#include <string.h>

#include <mutex>
#include <set>
#include <utility>

#include "cuda/contributions.cu"
#include "cuda/em.cu"
#include "cuda/fisher.cu"
#include "cuda/moments.cu"
#include "cuda/windows.cu"

namespace {

const void* kernel_of(const char* name) {
#define ILDFV_FIND(NAME)                                                                                               \
    if (!strcmp(name, #NAME)) return reinterpret_cast<const void*>(NAME);
    ILDFV_KERNELS(ILDFV_FIND)
    ILDFV_WINDOW_KERNELS(ILDFV_FIND)
    ILDFV_FISHER_KERNELS(ILDFV_FIND)
    ILDFV_EM_KERNELS(ILDFV_FIND)
    ILDFV_CONTRIBUTION_KERNELS(ILDFV_FIND)
#undef ILDFV_FIND
    return nullptr;
}

// Returns the status of a runtime call and clears the error. A failure that leaves the context usable, such as running
// out of memory, is the thread's last error until it is read: PyTorch or CuPy would report it as their own error.
cudaError_t cleared(cudaError_t status) {
    if (status != cudaSuccess) cudaGetLastError();
    return status;
}

int shared_limit(int device, int* bytes) {
    return cleared(cudaDeviceGetAttribute(bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
}

// At the first use of the kernel, raises its limit of shared memory to the maximum of `device`, which must be the
// current device. If the limit were set for each launch, another thread could lower it before the launch.
int raise_shared_limit(int device, const void* kernel) {
    static std::mutex mutex;
    static std::set<std::pair<int, const void*>> raised;
    const std::lock_guard<std::mutex> lock(mutex);
    if (raised.count({device, kernel})) return cudaSuccess;
    int bytes = 0, status = shared_limit(device, &bytes);
    if (status == cudaSuccess)
        status = cleared(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
    if (status == cudaSuccess) raised.insert({device, kernel});
    return status;
}

}  // namespace

// Queues the kernel on `stream` of `device` and restores the calling thread's device. Returns a cudaError_t, 0 on
// success.
extern "C" int ildfv_cuda_launch(int device, const char* name, unsigned grid_x, unsigned grid_y, unsigned threads,
                                 size_t shared_bytes, void* stream, void** arguments) {
    const void* kernel = kernel_of(name);
    if (!kernel) return cudaErrorInvalidDeviceFunction;
    int before = device;
    int status = cleared(cudaGetDevice(&before));
    if (status == cudaSuccess && before != device) status = cleared(cudaSetDevice(device));
    if (status != cudaSuccess) return status;
    if (shared_bytes > 48 * 1024) status = raise_shared_limit(device, kernel);
    if (status == cudaSuccess)
        status = cleared(cudaLaunchKernel(kernel, dim3(grid_x, grid_y), dim3(threads), arguments, shared_bytes,
                                          static_cast<cudaStream_t>(stream)));
    if (before != device) {
        const int restored = cleared(cudaSetDevice(before));
        if (status == cudaSuccess) status = restored;
    }
    return status;
}

// Maximum shared memory of a block on `device`, in bytes; −cudaError_t on failure.
extern "C" int ildfv_cuda_shared_limit(int device) {
    int bytes = 0;
    const int status = shared_limit(device, &bytes);
    return status == cudaSuccess ? bytes : -status;
}

// Compute capability of `device`, 90 for sm_90; −cudaError_t on failure.
extern "C" int ildfv_cuda_capability(int device) {
    int major = 0, minor = 0;
    int status = cleared(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
    if (status == cudaSuccess)
        status = cleared(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
    return status == cudaSuccess ? 10 * major + minor : -status;
}

extern "C" const char* ildfv_cuda_error(int status) { return cudaGetErrorString(static_cast<cudaError_t>(status)); }
