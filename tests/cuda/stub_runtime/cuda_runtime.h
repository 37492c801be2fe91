// The part of the CUDA runtime that launch.cu uses, without a device. Like the runtime, it keeps the last error of a
// thread until it is read. Tests choose which call fails, and read what was called.
#pragma once
#include <stddef.h>

#include <mutex>
#include <string>

enum cudaError_t { cudaSuccess = 0, cudaErrorMemoryAllocation = 2, cudaErrorInvalidDeviceFunction = 98 };
enum cudaDeviceAttr {
    cudaDevAttrMaxSharedMemoryPerBlockOptin,
    cudaDevAttrComputeCapabilityMajor,
    cudaDevAttrComputeCapabilityMinor
};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
typedef void* cudaStream_t;
struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

namespace stub {
constexpr int SHARED_LIMIT = 163 << 10;
inline std::mutex mutex;
inline std::string failing, calls;
inline int error = 0, current = 0;
inline thread_local cudaError_t last = cudaSuccess;

inline cudaError_t called(const std::string& name, const std::string& details = "") {
    const std::lock_guard<std::mutex> lock(mutex);
    calls += name + details + "\n";
    const cudaError_t status = failing == name ? static_cast<cudaError_t>(error) : cudaSuccess;
    if (status != cudaSuccess) last = status;
    return status;
}
}  // namespace stub

inline cudaError_t cudaGetLastError() {
    const cudaError_t found = stub::last;
    stub::last = cudaSuccess;
    return found;
}
inline cudaError_t cudaPeekAtLastError() { return stub::last; }
inline const char* cudaGetErrorString(cudaError_t) { return "an error"; }
inline cudaError_t cudaGetDevice(int* device) {
    *device = stub::current;
    return stub::called("cudaGetDevice");
}
inline cudaError_t cudaSetDevice(int device) {
    const cudaError_t status = stub::called("cudaSetDevice", " " + std::to_string(device));
    if (status == cudaSuccess) stub::current = device;
    return status;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
    *value = attribute == cudaDevAttrMaxSharedMemoryPerBlockOptin ? stub::SHARED_LIMIT : 8;
    return stub::called("cudaDeviceGetAttribute");
}
inline cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int value) {
    return stub::called("cudaFuncSetAttribute", " " + std::to_string(value));
}
inline cudaError_t cudaLaunchKernel(const void*, dim3, dim3, void**, size_t, cudaStream_t) {
    return stub::called("cudaLaunchKernel");
}

extern "C" void stub_fail(const char* name, int error) { stub::failing = name, stub::error = error; }
extern "C" int stub_last_error() { return stub::last; }
extern "C" void stub_leave_error(int error) { stub::last = static_cast<cudaError_t>(error); }
extern "C" const char* stub_calls() { return stub::calls.c_str(); }
extern "C" void stub_forget_calls() { stub::calls.clear(); }
