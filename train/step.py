"""One training step: gradients summed over shards and ranks, then an update of the weights."""

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

SEED_STRIDE = 1 << 16  # more than the number of slices in a step, so that steps never have equal seeds


@dataclass
class Step:
    """Callable: (batch, its images on the device, seed, learning rate) → updates the network's weights.

    loss: outputs (b, c), indices of the slices (b,) → the loss of each slice, (b,). compiled: runs the network, if set.
    note: called if device memory does not suffice for a shard. From then on, fewer slices are computed at once.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Callable
    device: torch.device
    bfloat16: bool = False
    compiled: Compiled | None = None
    note: Callable[[str], None] = lambda text: None
    at_once: int | None = None  # slices computed at once; None: a shard

    def __call__(self, batch: Batch, images: torch.Tensor, seed: int, rate: float) -> torch.Tensor:
        """This rank's share of the mean loss over the step's slices, float64.

        Shards are computed one by one, so that their bits do not depend on the rank that computes them. The running
        statistics of batch normalisation are those of the first shard.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
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
        """The contribution of the slices at these positions to the step's mean loss; sets their gradients."""
        here = slice(places.start, places.stop)
        prepare_dropout(self.network, seed, torch.from_numpy(batch.rows[here]), batch.total)

        def learn(forward: Callable) -> torch.Tensor:
            # This seed is for random layers of other packages; `Dropout` has its own.
            torch.manual_seed((seed * SEED_STRIDE + int(batch.rows[here.start])) % (1 << 63))
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
                f = forward(images[here])  # (b, c)
            loss = self.loss(f.float(), batch.indices[here]).sum() / batch.total
            loss.backward()
            return loss.detach()

        return self.compiled(learn) if self.compiled else learn(self.network)
