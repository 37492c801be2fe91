"""Overlapped work: worker threads and processes, prefetching, transfer to a GPU, CUDA graphs, map streams."""
