// Launches the kernels of this folder by name. nvcc compiles this file when ildfv is installed with ILDFV_CUDA=1.
#include <cuda_runtime.h>
#include <string.h>

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
#undef ILDFV_FIND
    return nullptr;
}

}  // namespace

// Queues the kernel on `stream` of `device` and restores the calling thread's device. Returns a cudaError_t, 0 on
// success.
extern "C" int ildfv_cuda_launch(int device, const char* name, unsigned grid_x, unsigned grid_y, unsigned threads,
                                 size_t shared_bytes, void* stream, void** arguments) {
    const void* kernel = kernel_of(name);
    if (!kernel) return cudaErrorInvalidDeviceFunction;
    int before = device;
    cudaError_t status = cudaGetDevice(&before);
    if (status == cudaSuccess && before != device) status = cudaSetDevice(device);
    if (status != cudaSuccess) return status;
    if (shared_bytes > 48 * 1024)
        status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared_bytes);
    if (status == cudaSuccess)
        status = cudaLaunchKernel(kernel, dim3(grid_x, grid_y), dim3(threads), arguments, shared_bytes,
                                  static_cast<cudaStream_t>(stream));
    if (status == cudaSuccess) status = cudaPeekAtLastError();
    if (before != device) cudaSetDevice(before);
    return status;
}

// Maximum shared memory of a block on `device`, in bytes; −cudaError_t on failure.
extern "C" int ildfv_cuda_shared_limit(int device) {
    int bytes = 0;
    const cudaError_t status = cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    return status == cudaSuccess ? bytes : -(int)status;
}

// Compute capability of `device`, 90 for sm_90; −cudaError_t on failure.
extern "C" int ildfv_cuda_capability(int device) {
    int major = 0, minor = 0;
    cudaError_t status = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    if (status == cudaSuccess) status = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
    return status == cudaSuccess ? 10 * major + minor : -(int)status;
}

extern "C" const char* ildfv_cuda_error(int status) { return cudaGetErrorString(static_cast<cudaError_t>(status)); }
