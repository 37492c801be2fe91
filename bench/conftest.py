"""Collects benchmarks from files named bench_*.py. `python bench/ratios.py` compares our kernel with alternatives."""

from __future__ import annotations

import pytest


def pytest_collect_file(file_path, parent):
    if file_path.name.startswith("bench_") and file_path.suffix == ".py":
        return pytest.Module.from_parent(parent, path=file_path)
    return None


def pytest_pycollect_makeitem(collector, name, obj):
    """Functions named bench_* are benchmarks."""
    if name.startswith("bench_") and callable(obj):
        return list(collector._genfunctions(name, obj))
    return None
