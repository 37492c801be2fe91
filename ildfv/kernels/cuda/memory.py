"""One memory pool on a GPU: where torch uses it, CuPy takes its memory from torch's; and how much there is to have.

Two pools would each keep what the other one needs. Without torch on the GPU, CuPy's own pool stays.
"""

from __future__ import annotations

import gc
import sys
from typing import Any


def join() -> bool:
    """Whether CuPy allocates from torch's pool from now on: where both are in use and nobody chose CuPy's allocator.

    Arrays made before keep their memory. What CuPy's pool holds unused goes back to the device.
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
    return getattr(present, "__self__", None) is _joined.get("allocator")


def free(device) -> int:
    """Bytes of the device's memory, "cuda:i" or a torch.device, that the next arrays may take.

    What the pools keep for later arrays counts as free; what CuPy's own pool keeps is given back for it.
    """
    import torch

    give_back_cupys()
    on_device, _ = torch.cuda.mem_get_info(device)
    return on_device + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def empty() -> None:
    """Gives memory that no array uses back to the device."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    give_back_cupys()


def give_back_cupys() -> None:
    """Gives what CuPy's own pool keeps and no array uses back to the device."""
    cupy = sys.modules.get("cupy")
    if cupy is not None:
        cupy.get_default_memory_pool().free_all_blocks()


_joined: dict[str, Any] = {}  # the one allocator, once it is made


def _allocator(torch, cupy):
    """An allocator of CuPy over torch's pool."""

    def allocate(size: int, device: int) -> int:
        # On CuPy's stream: torch, as CuPy, hands a freed block on to that stream alone, in whose order all stays.
        return torch.cuda.caching_allocator_alloc(size, device, cupy.cuda.get_current_stream().ptr)

    def release(address: int, device: int) -> None:
        if not sys.is_finalizing():  # then the process's memory goes with it, and torch may be gone
            torch.cuda.caching_allocator_delete(address)

    if "allocator" not in _joined:
        _joined["allocator"] = cupy.cuda.PythonFunctionAllocator(allocate, release)
    return _joined["allocator"]
