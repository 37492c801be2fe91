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
from ildfv.train.gradients import Gradients


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

        Shards are computed one by one, and the same shards give the same bits whichever ranks they are dealt to. Batch
        statistics, of networks that keep them, are those of the first shard.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        if batch.cut == distributed.size() == 1:
            share = self._learn(batch, images, batch.shards[0], seed)
        else:
            share = self._learn_shards(batch, images, seed)
        self.optimizer.step()
        return share.detach()

    def _learn_shards(self, batch: Batch, images: torch.Tensor, seed: int) -> torch.Tensor:
        share = torch.zeros((), dtype=torch.float64, device=self.device)
        statistics = None
        with Gradients(self.network, batch, wait=self.compiled is None) as gradients:
            for shard in batch.shards:
                share += self._learn(batch, images, shard, seed).detach()
                gradients.take()
                if statistics is None:
                    statistics = [buffer.clone() for buffer in self.network.buffers()]
        if statistics is not None:
            for buffer, value in zip(self.network.buffers(), statistics, strict=True):
                buffer.copy_(value)
        distributed.share_tensors(self.network.buffers())
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
