"""Run by torchrun: a rank trains a step, leaves the others, and says which threads of torch.distributed are left."""

import threading
from pathlib import Path

import torch

from ildfv import distributed


def threads() -> list[str]:
    """The names of this process's threads, those that Python knows nothing of included."""
    return sorted((task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir())


distributed.start()
weight = torch.nn.Parameter(torch.ones(3))
weight.sum().backward()
distributed.sum_tensors([weight.grad])
torch.optim.AdamW([weight]).step()  # imports much of torch only now
assert any("gloo" in name for name in threads()), threads()
distributed.stop()
left = [name for name in threads() if "gloo" in name or "tcpstore" in name]
print("alone" if not left and threading.active_count() == 1 else left, flush=True)
