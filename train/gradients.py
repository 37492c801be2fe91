"""Gradients of a step, summed over shards and ranks. Their bits do not depend on which rank computes which shard."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from ildfv import distributed
from ildfv.errors import check
from ildfv.train.blocks import Linear
from ildfv.train.data import Batch


class Gradients:
    """Context manager that accumulates gradients part by part and, on exit, sets the gradients of the whole step.

    float32 gradients are added in float64, which is nearly exact for so few summands. The weights of `Linear` layers,
    which are most of the weights of CNN-F, are an exception: inputs and output gradients are kept for every row of the
    step, and each rank computes their product over all rows. wait: whether to defer these weights to the end; compiled
    layers need False, which adds the gradients of these weights like all others.
    """

    def __init__(self, network: nn.Module, batch: Batch, *, wait: bool = True):
        self.batch = batch
        layers = [module for module in network.modules() if isinstance(module, Linear)] if wait else []
        self.layers = [layer for layer in layers if layer.weight.requires_grad]
        self.weights = [layer.weight for layer in self.layers]
        waiting = set(self.weights)
        self.parameters = [p for p in network.parameters() if p.requires_grad and p not in waiting]
        self.sums: list[torch.Tensor | None] = [None] * len(self.parameters)
        self.rows: list[list[tuple[torch.Tensor, torch.Tensor]]] = [[] for _ in self.layers]
        self.present: list[tuple[torch.Tensor, torch.Tensor] | None] = [None] * len(self.layers)

    def __enter__(self) -> Gradients:
        self.begin()
        for number, layer in enumerate(self.layers):
            layer.kept = partial(self._keep, number)
        return self

    def __exit__(self, kind, error, traceback) -> None:
        for layer in self.layers:
            layer.kept = layer.cast = None
        if kind is None:
            self._add_up()
            self._multiply()

    def begin(self) -> None:
        """Discards gradients that were not accumulated, such as those of a failed part."""
        for parameter in (*self.parameters, *self.weights):
            parameter.grad = None
        self.present = [None] * len(self.layers)

    def take(self) -> None:
        """Adds the current gradients and clears them. Parts must be in the order of their rows."""
        for number, parameter in enumerate(self.parameters):
            if parameter.grad is not None:
                before = self.sums[number]
                self.sums[number] = parameter.grad.double() if before is None else before.add_(parameter.grad)
        for rows, present in zip(self.rows, self.present, strict=True):
            if present is not None:
                rows.append(present)
        self.begin()

    def _keep(self, number: int, x: torch.Tensor, gradient: torch.Tensor) -> None:
        once = x.ndim == 2 and self.present[number] is None
        check(
            once,
            "a Linear layer must be applied once per pass, to input of shape (b, d), "
            f"got {tuple(x.shape)}: use nn.Linear instead",
        )
        self.present[number] = (x, gradient)

    def _add_up(self) -> None:
        sums = [
            torch.zeros_like(parameter, dtype=torch.float64) if mine is None else mine
            for mine, parameter in zip(self.sums, self.parameters, strict=True)
        ]
        distributed.sum_tensors(sums)
        for parameter, total in zip(self.parameters, sums, strict=True):
            parameter.grad = total.to(parameter.dtype)

    def _multiply(self) -> None:
        for layer, rows in zip(self.layers, self.rows, strict=True):
            x = self._whole([x for x, _ in rows], layer.in_features, layer.weight)
            gradient = self._whole([gradient for _, gradient in rows], layer.out_features, layer.weight)
            layer.weight.grad = gradient.T @ x

    def _whole(self, mine: list[torch.Tensor], width: int, like: torch.Tensor) -> torch.Tensor:
        """The rows of the whole step, (total, width). Only one rank sets each row, so the sum over ranks is exact."""
        whole = like.new_zeros((self.batch.total, width))
        if mine:
            first = int(self.batch.rows[0])
            whole[first : first + len(self.batch.rows)] = torch.cat(mine)
        distributed.sum_tensors([whole])
        return whole
