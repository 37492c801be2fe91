"""The memory pool of a GPU, and its free memory. If torch uses the GPU, CuPy allocates from torch's pool.

With two pools, each could hold free memory that the other needs. Without torch, CuPy keeps its own pool.
"""

from __future__ import annotations

import gc
import sys
import threading
from typing import Any

# Lock for emptying the pools and for capturing a CUDA graph: torch cannot empty its pool during a capture.
emptying = threading.RLock()


def join() -> bool:
    """Makes CuPy allocate from torch's pool if both use the GPU and CuPy has its default allocator.

    Returns whether CuPy allocates from torch's pool. Existing arrays keep their memory. Unused memory of CuPy's pool is
    returned to the device.
    """
    torch, cupy = sys.modules.get("torch"), sys.modules.get("cupy")
    if torch is None or cupy is None or not torch.cuda.is_initialized():
        return False
    own = cupy.get_default_memory_pool()
    present = cupy.cuda.get_allocator()
    if present == own.malloc:
        cupy.cuda.set_allocator(_allocator(torch, cupy).malloc)
        own.free_all_blocks()
        return True
    joined = _joined.get("allocator")
    return joined is not None and getattr(present, "__self__", None) is joined


def free(device) -> int:
    """Bytes available for new arrays on the device, "cuda:i" or a torch.device.

    Memory that torch's pool holds but no tensor uses counts as free. Unused memory of CuPy's pool is released first.
    """
    import torch

    release_cupy()
    on_device, _ = torch.cuda.mem_get_info(device)
    return on_device + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def empty() -> None:
    """Returns memory that no array uses to the device."""
    gc.collect()
    torch = sys.modules.get("torch")
    with emptying:
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        release_cupy()


def release_cupy() -> None:
    """Returns unused memory of CuPy's pool to the device."""
    cupy = sys.modules.get("cupy")
    if cupy is not None:
        cupy.get_default_memory_pool().free_all_blocks()


_joined: dict[str, Any] = {}  # the allocator, created at most once


def _allocator(torch, cupy):
    """A CuPy allocator that uses torch's pool."""

    def allocate(size: int, device: int) -> int:
        # Like CuPy, torch reuses a freed block only on the stream it was allocated for, here CuPy's current stream.
        return torch.cuda.caching_allocator_alloc(size, device, cupy.cuda.get_current_stream().ptr)

    def release(address: int, device: int) -> None:
        if not sys.is_finalizing():  # at exit torch may already be unloaded, and all memory is freed anyway
            torch.cuda.caching_allocator_delete(address)

    if "allocator" not in _joined:
        _joined["allocator"] = cupy.cuda.PythonFunctionAllocator(allocate, release)
    return _joined["allocator"]
