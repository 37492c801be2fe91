"""Layers of the paper's networks that differ from torch's."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class Dropout(nn.Module):
    """`nn.Dropout` in which the mask of a sample depends only on the step and on the sample's position in its batch.

    The mask of the step's whole batch is drawn on the CPU, with the seed given to `prepare_dropout`; the rows of this
    forward pass are then selected. Resumed runs, GPUs and any number of ranks therefore drop the same units.
    """

    def __init__(self, p: float):
        super().__init__()
        self.p = p
        self.draw: tuple[int, torch.Tensor, int] | None = None  # seed, rows of this pass, size of the whole batch

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if not self.training or self.p == 0 else self._dropped(x)

    def leave_to_python(self) -> None:
        """Excludes the random draws from compilation: each step has another seed, which would cause recompilation."""
        self._dropped = torch.compiler.disable(self._dropped)  # type: ignore[method-assign]

    def _dropped(self, x: torch.Tensor) -> torch.Tensor:
        if self.draw is None:
            return F.dropout(x, self.p)
        seed, rows, total = self.draw
        kept = torch.rand((total, *x.shape[1:]), generator=torch.Generator().manual_seed(seed)) >= self.p
        return x * kept[rows].to(device=x.device, dtype=x.dtype, non_blocking=True).div_(1 - self.p)


def prepare_dropout(network: nn.Module, seed: int, rows: torch.Tensor, total: int) -> None:
    """Sets, in every `Dropout`, the seed of the next forward pass and its rows in a whole batch of `total` samples."""
    for i, module in enumerate(m for m in network.modules() if isinstance(m, Dropout)):
        module.draw = (seed * 64 + i, rows, total)


class Heads(nn.Module):
    """C separate logistic layers with two classes each. Outputs (b, c): "present" minus "absent" score of each head.

    log(1 + exp(−y·(present − absent))) is the two-class softmax loss of a head, so eq. (1) trains all heads at once.
    """

    def __init__(self, inputs: int, n_outputs: int):
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(inputs, 2) for _ in range(n_outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = torch.stack([head(x) for head in self.heads], dim=1)  # (b, c, 2)
        return scores[..., 1] - scores[..., 0]
