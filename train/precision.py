"""Whether products in bfloat16 are faster than in float32."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from ildfv.errors import check

CPU_INFO = Path("/proc/cpuinfo")
FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # bf16: Arm; the others: x86-64


def multiplies_bfloat16() -> bool:
    """Whether this CPU has instructions for products in bfloat16. False if the system has no /proc/cpuinfo."""
    found = (
        re.search(r"^(?:flags|Features)\s*:(.*)$", CPU_INFO.read_text(), re.MULTILINE) if CPU_INFO.exists() else None
    )
    return found is not None and not FLAGS.isdisjoint(found[1].split())


def check_bfloat16(device: torch.device) -> None:
    """Raises InputError if the device would only emulate products in bfloat16, which is slower than float32."""
    check(
        device.type != "cpu" or multiplies_bfloat16(),
        "bfloat16 must be omitted on this CPU, for which no products in bfloat16 (AVX512-BF16, AMX or Arm's bf16) were "
        "found: use float32 or a GPU",
    )
