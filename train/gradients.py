"""Gradients of a step, summed over shards and ranks. Their bits do not depend on which rank computes which shard."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from ildfv import distributed
from ildfv.train.data import Batch


class Gradients:
    """Context manager that accumulates gradients part by part and, on exit, sets the gradients of the whole step.

    float32 gradients are added in float64, which is nearly exact for so few summands. The sum of two float32 numbers is
    computed in float32, which gives the same bits as rounding their sum in float64.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]):
        self.parameters = [p for p in parameters if p.requires_grad]
        self.parts: list[list[torch.Tensor]] = [[] for _ in self.parameters]  # at most two, whose sum is the gradient

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
        for parameter, parts in zip(self.parameters, self.parts, strict=True):
            if parameter.grad is not None:
                if len(parts) == 2:
                    parts[:] = [_sum(parts)]
                parts.append(parameter.grad)
        self.begin()

    def _add_up(self) -> None:
        if distributed.size() > 1:
            sums = [_sum(parts or [torch.zeros_like(p)]) for p, parts in zip(self.parameters, self.parts, strict=True)]
            distributed.sum_tensors(sums)
            self.parts = [[total] for total in sums]
        for parameter, parts in zip(self.parameters, self.parts, strict=True):
            total = parts[0].add_(parts[1]) if len(parts) == 2 else parts[0] if parts else torch.zeros_like(parameter)
            parameter.grad = total.to(parameter.dtype)


def _sum(parts: list[torch.Tensor]) -> torch.Tensor:
    """The sum of one or two tensors in float64."""
    total = parts[0].double()
    return total.add_(parts[1]) if len(parts) == 2 else total


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
