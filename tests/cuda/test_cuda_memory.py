"""CuPy allocates from torch's pool if both use the GPU; unused pool memory counts as free. Both are mocked."""

import sys
from types import SimpleNamespace

import pytest

from ildfv.kernels.cuda import memory, oom


class Allocator:
    """Like CuPy's PythonFunctionAllocator: `malloc` is a bound method, and size 0 allocates nothing."""

    def __init__(self, allocate, release):
        self.allocate, self.release = allocate, release

    def malloc(self, size):
        return self.allocate(size, 1) if size else 0


class OwnPool:
    def __init__(self):
        self.kept = 100

    def malloc(self, size):
        return -1

    def free_all_blocks(self):
        self.kept = 0


@pytest.fixture
def both(monkeypatch):
    """A torch with 1000 bytes, of which 300 are reserved and 200 are in use, and a CuPy whose pool keeps 100."""
    own, current, calls = OwnPool(), [], []
    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        caching_allocator_alloc=lambda size, device, stream: calls.append((size, device, stream)) or 4096,
        caching_allocator_delete=lambda address: calls.append(address),
        mem_get_info=lambda device: (1000 - 300 - own.kept, 1000),
        memory_reserved=lambda device: 300,
        memory_allocated=lambda device: 200,
        empty_cache=lambda: calls.append("emptied"),
    )
    current.append(own.malloc)
    cupy = SimpleNamespace(
        get_default_memory_pool=lambda: own,
        cuda=SimpleNamespace(
            get_allocator=lambda: current[-1],
            set_allocator=current.append,
            PythonFunctionAllocator=Allocator,
            get_current_stream=lambda: SimpleNamespace(ptr=77),
        ),
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(memory, "_joined", {})
    return SimpleNamespace(torch=cuda, cupy=cupy.cuda, own=own, calls=calls)


def test_cupy_allocates_from_torchs_pool_on_its_own_stream(both):
    assert memory.join()
    malloc = both.cupy.get_allocator()
    assert malloc(10) == 4096
    malloc.__self__.release(4096, 1)
    assert both.calls == [(10, 1, 77), 4096]
    assert both.own.kept == 0
    assert memory.join()  # a second call changes nothing
    assert both.cupy.get_allocator() == malloc


def test_a_custom_allocator_is_kept(both):
    chosen = Allocator(None, None).malloc
    both.cupy.set_allocator(chosen)
    assert not memory.join()
    assert both.cupy.get_allocator() == chosen


def test_a_plain_function_as_allocator_is_not_mistaken_for_torchs_pool(both):
    def chosen(size):
        return 8192

    both.cupy.set_allocator(chosen)  # a plain function without __self__
    assert memory.join() is False
    assert both.cupy.get_allocator() is chosen


@pytest.mark.parametrize("absent", ["torch", "cupy", "initialized"])
def test_without_both_libraries_nothing_changes(both, monkeypatch, absent):
    before = both.cupy.get_allocator()
    if absent == "initialized":
        monkeypatch.setattr(both.torch, "is_initialized", lambda: False)
    else:
        monkeypatch.delitem(sys.modules, absent)
    assert not memory.join()
    assert both.cupy.get_allocator() == before


def test_memory_is_not_freed_when_python_ends(both, monkeypatch):
    memory.join()
    monkeypatch.setattr(sys, "is_finalizing", lambda: True)
    both.cupy.get_allocator().__self__.release(4096, 1)
    assert both.calls == []


def test_unused_pool_memory_counts_as_free(both):
    assert memory.free("cuda:0") == 1000 - 200
    assert both.own.kept == 0
    assert oom.batch_size(8, "cuda:0", maximum=1000) == int(800 * oom.MEMORY_SHARE) // 8


def test_pools_are_emptied(both):
    memory.empty()
    assert both.own.kept == 0
    assert both.calls == ["emptied"]
