// The functions of launch.cu for the Cython extension, with the emulated kernels, so that nvcc and a GPU are not needed.
#include "emulated.cpp"

extern "C" int ildfv_cuda_launch(int device, const char* name, unsigned grid_x, unsigned grid_y, unsigned threads,
                                 size_t shared_bytes, void* stream, void** arguments) {
    if (device != 0) return 101;
    return stream ? 400 : launch(name, grid_x, grid_y, threads, shared_bytes, arguments);
}
extern "C" int ildfv_cuda_shared_limit(int device) { return device ? -101 : 227 << 10; }
extern "C" int ildfv_cuda_capability(int device) { return device ? -101 : 90; }
extern "C" const char* ildfv_cuda_error(int status) {
    return status == 1 ? "no such kernel" : status == 101 ? "invalid device ordinal" : "some fault";
}
