"""One step of training: gradients of a batch's shards, added over shards and ranks, move the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from ildfv import distributed
from ildfv.train.blocks import prepare_dropout
from ildfv.train.compiled import Compiled
from ildfv.train.data import Batch, Shard


@dataclass(frozen=True)
class Step:
    """Calling it with a batch, its images on the device, a seed and a learning rate moves the network's weights.

    loss: answers (b, c), indices of the slices (b,) → the loss of each, (b,). compiled: runs the network, if given.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Callable
    device: torch.device
    bfloat16: bool = False
    compiled: Compiled | None = None

    def __call__(self, batch: Batch, images: torch.Tensor, seed: int, rate: float) -> torch.Tensor:
        """This rank's share of the mean loss of the step's slices, float64.

        Shards are computed one by one and their float32 gradients added in float64, where sums of so few are all but
        exact: the same shards give the same bits whichever ranks they are dealt to. Batch statistics, of networks that
        keep them, are those of the first shard.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        share = torch.zeros((), dtype=torch.float64, device=self.device)
        gradients = Gradients(self.network) if batch.cut > 1 else None
        statistics = None
        self.optimizer.zero_grad(set_to_none=True)
        for shard in batch.shards:
            share += self._learn(batch, images, shard, seed).detach()
            if gradients is not None:
                gradients.take()
                if statistics is None:
                    statistics = [buffer.clone() for buffer in self.network.buffers()]
        if gradients is not None:
            if statistics is not None:
                for buffer, value in zip(self.network.buffers(), statistics, strict=True):
                    buffer.copy_(value)
            gradients.give()
            distributed.share_tensors(self.network.buffers())
        self.optimizer.step()
        return share

    def _learn(self, batch: Batch, images: torch.Tensor, shard: Shard, seed: int) -> torch.Tensor:
        """The shard's share of the step's mean loss, whose gradients are added to the network's."""
        prepare_dropout(self.network, seed, torch.from_numpy(batch.rows[shard.here]), batch.total)

        def learn(forward: Callable) -> torch.Tensor:
            torch.manual_seed(seed + shard.number)  # for foreign networks, whose random layers are not ours
            half = self.bfloat16 and self.device.type == "cuda"
            with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
                f = forward(images[shard.here])  # (b, c)
            loss = self.loss(f.float(), batch.indices[shard.here]).sum() / batch.total
            loss.backward()
            return loss

        return self.compiled(learn) if self.compiled else learn(self.network)


class Gradients:
    """A network's gradients added up in float64, over what is computed here and over ranks."""

    def __init__(self, network: nn.Module):
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self.sums: list[torch.Tensor | None] = [None] * len(self.parameters)

    def take(self) -> None:
        """Adds the present gradients, which are gone then."""
        for number, parameter in enumerate(self.parameters):
            if parameter.grad is not None:
                before = self.sums[number]
                self.sums[number] = parameter.grad.double() if before is None else before.add_(parameter.grad)
                parameter.grad = None

    def give(self) -> None:
        """Puts the sums over all ranks, in float32, where the optimizer looks for gradients."""
        sums = [
            torch.zeros_like(parameter, dtype=torch.float64) if mine is None else mine
            for mine, parameter in zip(self.sums, self.parameters, strict=True)
        ]
        distributed.sum_tensors(sums)
        for parameter, total in zip(self.parameters, sums, strict=True):
            parameter.grad = total.to(parameter.dtype)
