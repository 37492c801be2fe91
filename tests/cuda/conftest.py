"""Fixtures: the emulated device and random numbers."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from emulation import EmulatedDevice, build

from ildfv.kernels.cuda import moments


@pytest.fixture(scope="session")
def library():
    """The kernels compiled for the CPU."""
    return build()


@pytest.fixture
def device(library):
    """A device with an H100's shared memory."""
    return EmulatedDevice(library)


@pytest.fixture(autouse=True)
def _default_variant():
    yield
    moments.set_variant(None)


@pytest.fixture
def rng():
    return np.random.default_rng(20260101)
