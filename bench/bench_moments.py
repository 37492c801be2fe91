"""pytest-benchmark of the kernel and the alternatives: `make bench`, or `pytest bench --benchmark-enable -k conv1`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import data
import peers

METHODS = {"ours": peers.ours, **peers.PEERS}


@pytest.mark.parametrize("kind", ["peaky", "soft"])
@pytest.mark.parametrize("shape", data.SHAPES)
@pytest.mark.parametrize("method", METHODS)
def bench_moments(benchmark, method, shape, kind):
    if method in peers.NEEDS:
        pytest.importorskip(peers.NEEDS[method])
    if shape == "fc6" and method in ("vlfeat", "scikit-image"):
        pytest.skip("one descriptor per slice: nothing to compare")
    maps, mixture = getattr(data, kind)(shape)
    benchmark.group = f"{shape} {kind}"
    benchmark.pedantic(METHODS[method](mixture), (maps,), rounds=5, warmup_rounds=1)
