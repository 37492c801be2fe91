"""Native sources, one truth for the C++ and the CUDA build."""
