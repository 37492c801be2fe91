"""One step of training: gradients of a batch's shards, added over shards and ranks, move the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from ildfv import distributed
from ildfv.kernels.cuda.oom import OomRetry
from ildfv.train.blocks import prepare_dropout
from ildfv.train.compiled import Compiled
from ildfv.train.data import Batch
from ildfv.train.gradients import Gradients

SEED_STRIDE = 1 << 16  # more than the slices of a step, so that no two steps share a seed


@dataclass
class Step:
    """Calling it with a batch, its images on the device, a seed and a learning rate moves the network's weights.

    loss: answers (b, c), indices of the slices (b,) → the loss of each, (b,). compiled: runs the network, if given.
    note: is told where a shard does not fit in the device's memory: from then on so many slices are computed at once.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Callable
    device: torch.device
    bfloat16: bool = False
    compiled: Compiled | None = None
    note: Callable[[str], None] = lambda text: None
    at_once: int | None = None  # slices; None: a shard

    def __call__(self, batch: Batch, images: torch.Tensor, seed: int, rate: float) -> torch.Tensor:
        """This rank's share of the mean loss of the step's slices, float64.

        Shards are computed one by one, and the same shards give the same bits whichever ranks they are dealt to. Batch
        statistics, of networks that keep them, are those of the first shard.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        share = torch.zeros((), dtype=torch.float64, device=self.device)
        statistics = None
        with Gradients(self.network, batch, wait=self.compiled is None) as gradients:

            def learn(places: range) -> torch.Tensor:
                gradients.begin()
                loss = self._learn(batch, images, places, seed)
                gradients.take()
                return loss

            retry = OomRetry(learn, note=self.note, size=self.at_once)
            for shard in batch.shards:
                share += sum(retry(shard))
                if statistics is None:
                    statistics = [buffer.clone() for buffer in self.network.buffers()]
            self.at_once = retry.size
        if statistics is not None:
            for buffer, value in zip(self.network.buffers(), statistics, strict=True):
                buffer.copy_(value)
        distributed.share_tensors(self.network.buffers())
        self.optimizer.step()
        return share

    def _learn(self, batch: Batch, images: torch.Tensor, places: range, seed: int) -> torch.Tensor:
        """The share in the step's mean loss of the slices at these places, whose gradients the network has then."""
        here = slice(places.start, places.stop)
        prepare_dropout(self.network, seed, torch.from_numpy(batch.rows[here]), batch.total)

        def learn(forward: Callable) -> torch.Tensor:
            # For foreign random layers, which are not ours.
            torch.manual_seed((seed * SEED_STRIDE + int(batch.rows[here.start])) % (1 << 63))
            half = self.bfloat16 and self.device.type == "cuda"
            with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
                f = forward(images[here])  # (b, c)
            loss = self.loss(f.float(), batch.indices[here]).sum() / batch.total
            loss.backward()
            return loss.detach()

        return self.compiled(learn) if self.compiled else learn(self.network)
