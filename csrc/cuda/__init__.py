"""The CUDA kernel."""
