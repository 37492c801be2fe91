"""The number of CPU cores this process may use."""

from __future__ import annotations

import os


def available_cores() -> int:
    """Number of cores that this process may use: those of its CPU affinity or, on systems without one, all cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
