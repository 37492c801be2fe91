"""Native sources of the C++ and CUDA kernels; common/ is used by both."""
