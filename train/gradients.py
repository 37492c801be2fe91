"""Gradients of a step, summed over shards and ranks. Their bits do not depend on which rank computes which shard."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from ildfv import distributed
from ildfv.train.data import Batch


class Gradients:
    """Context manager that accumulates gradients part by part and, on exit, sets the gradients of the whole step.

    float32 gradients are added in float64, which is nearly exact for so few summands.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]):
        self.parameters = [p for p in parameters if p.requires_grad]
        self.sums: list[torch.Tensor | None] = [None] * len(self.parameters)

    def __enter__(self) -> Gradients:
        self.begin()
        return self

    def __exit__(self, kind, error, traceback) -> None:
        if kind is None:
            self._add_up()

    def begin(self) -> None:
        """Discards gradients that were not accumulated, such as those of a failed part."""
        for parameter in self.parameters:
            parameter.grad = None

    def take(self) -> None:
        """Adds the current gradients and clears them. Parts must be in the order of their rows."""
        for number, parameter in enumerate(self.parameters):
            if parameter.grad is not None:
                before = self.sums[number]
                self.sums[number] = parameter.grad.double() if before is None else before.add_(parameter.grad)
        self.begin()

    def _add_up(self) -> None:
        sums = [
            torch.zeros_like(parameter, dtype=torch.float64) if mine is None else mine
            for mine, parameter in zip(self.sums, self.parameters, strict=True)
        ]
        distributed.sum_tensors(sums)
        for parameter, total in zip(self.parameters, sums, strict=True):
            parameter.grad = total.to(parameter.dtype)


def all_rows(batch: Batch, parts: list[torch.Tensor]) -> torch.Tensor:
    """The rows of the whole step, (total, …), on every rank, from this rank's rows in consecutive parts.

    Only one rank sets each row, so the sum over ranks is exact.
    """
    mine = torch.cat(parts) if parts else None
    if distributed.size() == 1:
        assert mine is not None
        return mine
    # a rank without shards knows neither shape nor type; rank 0 has at least one shard
    shape, kind = distributed.from_main(None if mine is None else (mine.shape[1:], mine.dtype))
    device = "cpu" if mine is None else mine.device
    whole = torch.zeros((batch.total, *shape), dtype=torch.promote_types(kind, torch.float32), device=device)
    if mine is not None:
        first = int(batch.rows[0])
        whole[first : first + len(mine)] = mine
    distributed.sum_tensors([whole])
    return whole.to(kind)
