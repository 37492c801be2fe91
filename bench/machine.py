"""The machine and the package versions on which the results of a benchmark depend."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np


def machine() -> dict:
    """The CPU model, the number of available cores, and the versions of torch, NumPy and h5py."""
    import platform

    import torch

    model = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return {
        "cpu": model[0] if model else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "h5py": h5py.__version__,
    }
