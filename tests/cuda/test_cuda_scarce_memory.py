"""The sizes of the out-of-memory tests on a GPU: with torch's segments the first try fails, and halved rounds fit."""

import gc
import weakref

import numpy as np
import pytest
from emulation import EmulatedDevice, OnDevice
from problems import SCARCE, mixture, room_for_half
from segments import MIB, OutOfMemoryError, Segments

from ildfv.kernels.cuda import moments, oom, run


class Sizes(EmulatedDevice):
    """A device that allocates from segments and computes nothing."""

    def __init__(self, library, room):
        super().__init__(library)
        self.segments = Segments(room)

    def empty(self, shape, dtype):
        memory = np.zeros(shape, dtype)  # untouched pages take no memory
        weakref.finalize(memory, self.segments.release, self.segments.allocate(memory.nbytes))
        return memory.view(OnDevice)

    def launch(self, *launch):
        pass


@pytest.fixture
def scarce(library, rng, monkeypatch):
    """A function that computes moments of a batch of the given shape in `room` bytes and returns the segments."""

    def compute(room, b, n, d, k, *, pooled):
        device = Sizes(library, room)
        monkeypatch.setattr(oom.memory, "empty", lambda: (gc.collect(), device.segments.empty()))
        monkeypatch.setattr(run, "_round_sizes", {})
        maps = np.zeros((b, n, d), np.float32).view(OnDevice)
        moments.compute(device, maps, *mixture(rng, k, d), threshold=1e-6, pooled=pooled)
        return device.segments

    return compute


@pytest.mark.parametrize("pooled", [False, True])
def test_rounds_are_halved_and_then_fit(scarce, pooled):
    with pytest.warns(RuntimeWarning, match="out of device memory"):
        segments = scarce(room_for_half(pooled=pooled), **SCARCE, pooled=pooled)
    assert segments.failures > 0


def test_smaller_results_would_not_fit_at_any_size_of_a_round(scarce):
    # Results of 1.5 MiB each need a segment of 20 MiB at any size of a round.
    with pytest.raises(OutOfMemoryError):
        scarce(3 * MIB + (8 << 20), 24, 1458, 256, 64, pooled=False)


def test_segments_are_those_of_torch():
    segments = Segments(100 * MIB)
    first = segments.allocate(1000)
    second = segments.allocate(MIB - 1000)
    assert segments.reserved == 2 * MIB  # both blocks are in one segment
    medium = [segments.allocate(3 * MIB) for _ in range(2)]
    assert segments.reserved == 22 * MIB
    large = segments.allocate(15 * MIB + 1)  # larger than the rest of the second segment
    assert segments.reserved == 38 * MIB
    for place in (first, second, *medium, large):
        segments.release(place)
    segments.empty()
    assert segments.reserved == 0
