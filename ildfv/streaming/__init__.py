"""Overlap of reading and computing: worker threads and processes, prefetching, copies to a GPU, CUDA graphs."""
