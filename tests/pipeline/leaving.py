"""Run by torchrun: a rank trains a step, stops the process group, and prints which threads remain."""

import threading
from pathlib import Path

import torch

from ildfv import distributed


def threads() -> list[str]:
    """The names of all threads of this process, including those not created by Python."""
    return sorted((task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir())


distributed.start()
weight = torch.nn.Parameter(torch.ones(3))
weight.sum().backward()
distributed.sum_tensors([weight.grad])
torch.optim.AdamW([weight]).step()  # imports further parts of torch
assert any("gloo" in name for name in threads()), threads()
distributed.stop()
left = [name for name in threads() if "gloo" in name or "tcpstore" in name]
print("alone" if not left and threading.active_count() == 1 else left, flush=True)
