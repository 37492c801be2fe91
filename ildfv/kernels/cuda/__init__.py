"""The kernels on NVIDIA GPUs: compiling and launching them, devices, memory, and exchange of arrays."""
