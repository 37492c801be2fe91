"""Fully connected layers whose results for a slice do not depend on the other slices of its batch.

Matrix libraries use another algorithm, with other rounding errors (1e-6 of the largest activation), if there are only a
few rows. Convolutions are not affected, because oneDNN computes each slice separately.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

ROWS = 16  # minimum number of rows of a matrix product; fewer take as long, because reading the weights dominates


def with_fixed_rows(network: nn.Module) -> None:
    """Changes the fully connected layers of a network so that they compute at least 16 rows at once."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            module.forward = partial(_padded, module)  # type: ignore[method-assign]


def _padded(module: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    rows = len(x)
    if x.ndim == 2 and rows < ROWS:
        x = F.pad(x, (0, 0, 0, ROWS - rows))
    return F.linear(x, module.weight, module.bias)[:rows]
