"""The kernels on NVIDIA GPUs, and what brings them and their data to a device."""
