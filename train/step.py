"""One training step: gradients summed over shards and ranks, then an update of the weights.

A network with fully connected layers at its end, such as CNN-F, is evaluated in two parts. The layers below are
evaluated shard by shard. Each rank evaluates the fully connected layers once, for all slices of the step. Their
weights, which are most of the weights, are thus read once per step, and ranks need not exchange the gradients of these
weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from ildfv import distributed
from ildfv.kernels.cuda.oom import OomRetry, with_emptied_pools
from ildfv.train.blocks import prepare_dropout
from ildfv.train.compiled import Compiled
from ildfv.train.data import Batch
from ildfv.train.gradients import Gradients, all_rows
from ildfv.train.networks import Network

SEED_STRIDE = 1 << 16  # more than the number of slices in a step, so that steps never have equal seeds


@dataclass
class Step:
    """Callable: (batch, its images on the device, seed, learning rate) → updates the network's weights.

    loss: outputs (b, c), indices of the slices (b,) → the loss of each slice, (b,). compiled: runs the network, if set.
    note: called if device memory does not suffice for a shard. From then on, fewer slices are computed at once.
    """

    network: Network
    optimizer: torch.optim.Optimizer
    loss: Callable
    device: torch.device
    bfloat16: bool = False
    compiled: Compiled | None = None
    note: Callable[[str], None] = lambda text: None
    at_once: int | None = None  # slices computed at once; None: a shard

    def __call__(self, batch: Batch, images: torch.Tensor, seed: int, rate: float) -> torch.Tensor:
        """This rank's share of the mean loss over the step's slices, float64.

        Shards are computed one by one, so that their bits do not depend on the rank that computes them.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        divided = None if self.compiled else self.network.divided()
        given = self, batch, images, seed
        evaluate: _Whole | _Divided = _Whole(*given) if divided is None else _Divided(*given, *divided)
        share = evaluate()
        if evaluate.statistics is not None:  # not before: kept graphs contain the buffers
            evaluate.set_buffers(evaluate.statistics)
        distributed.share_tensors(self.network.buffers())
        self.optimizer.step()
        return share


class _Pass:
    """One step; the part that both ways of evaluating a network have in common."""

    def __init__(self, step: Step, batch: Batch, images: torch.Tensor, seed: int):
        self.step, self.batch, self.images, self.seed = step, batch, images, seed
        self.statistics: list[torch.Tensor] | None = None  # of batch normalisation, after the first shard

    def forward(self, run: Callable, places: range) -> torch.Tensor:
        """run(the slices at these positions of the batch)."""
        rows = torch.from_numpy(self.batch.rows[places.start : places.stop])
        return self.drawn(run, self.images[places.start : places.stop], rows, number=int(rows[0]))

    def drawn(self, run: Callable, x: torch.Tensor, rows: torch.Tensor, number: int) -> torch.Tensor:
        """run(x) with the random numbers of these rows of the step."""
        prepare_dropout(self.step.network, self.seed, rows, self.batch.total)
        # This seed is for random layers of other packages; `Dropout` has its own.
        torch.manual_seed((self.seed * SEED_STRIDE + number) % (1 << 63))
        with torch.autocast(self.step.device.type, torch.bfloat16, enabled=self.step.bfloat16):
            return run(x)

    def by_shard(self, compute: OomRetry) -> list:
        """compute(part) for all parts of the shards, in order."""
        results = []
        for shard in self.batch.shards:
            results += compute(shard)
            if self.statistics is None:
                self.statistics = self.buffers()
        self.step.at_once = compute.size
        return results

    def retry(self, compute: Callable, note: Callable[[str], None]) -> OomRetry:
        """compute(part) that, if memory does not suffice, is repeated for smaller parts."""

        def without_effects(places: range):
            before = self.buffers()
            try:
                return compute(places)
            except Exception:
                self.set_buffers(before)
                raise

        return OomRetry(without_effects, note=note, size=self.step.at_once)

    def buffers(self) -> list[torch.Tensor]:
        return [buffer.clone() for buffer in self.step.network.buffers()]

    def set_buffers(self, values: list[torch.Tensor]) -> None:
        for buffer, value in zip(self.step.network.buffers(), values, strict=True):
            buffer.copy_(value)

    def zero(self) -> torch.Tensor:
        return torch.zeros((), dtype=torch.float64, device=self.step.device)


class _Whole(_Pass):
    """Evaluates the whole network shard by shard."""

    def __call__(self) -> torch.Tensor:
        """This rank's share of the mean loss; sets the gradients."""
        with Gradients(self.step.network.parameters()) as self.gradients:
            return sum(self.by_shard(self.retry(self.learn, self.step.note)), self.zero())

    def learn(self, places: range) -> torch.Tensor:
        """The contribution of the slices at these positions to the mean loss; adds their gradients."""
        step, indices = self.step, self.batch.indices[places.start : places.stop]

        def learn(run: Callable) -> torch.Tensor:
            loss = step.loss(self.forward(run, places).float(), indices).sum() / self.batch.total
            loss.backward()
            return loss.detach()

        self.gradients.begin()
        loss = step.compiled(learn) if step.compiled else learn(step.network)
        self.gradients.take()
        return loss


class _Divided(_Pass):
    """Evaluates the lower layers shard by shard, and the fully connected layers once for all rows of the step.

    The graphs of the lower layers are kept until the fully connected layers have been evaluated. If device memory does
    not suffice for them, the lower layers are evaluated a second time for their gradients.
    """

    def __init__(self, step: Step, batch: Batch, images: torch.Tensor, seed: int, lower: Callable, upper: nn.Module):
        super().__init__(step, batch, images, seed)
        self.lower, self.upper = lower, upper
        own = set(upper.parameters())
        self.parameters = [p for p in step.network.parameters() if p.requires_grad and p not in own]  # of lower layers
        self.keeps = step.at_once is None
        self.kept: dict[range, torch.Tensor] = {}

    def __call__(self) -> torch.Tensor:
        """This rank's share of the mean loss, which is all of it on rank 0 and 0 elsewhere; sets the gradients."""
        features = all_rows(self.batch, self.by_shard(self.retry(self.features, self.full)))  # (total, d)
        loss, slope = with_emptied_pools(lambda: self.learn_upper(features))
        with Gradients(self.parameters) as self.gradients:
            if slope is not None:
                self.slope = slope
                self.by_shard(self.retry(self.learn_lower, self.full))
        return loss.double() if distributed.is_main() else self.zero()

    def full(self, text: str) -> None:
        """Frees the graphs of the lower layers, because memory does not suffice for them."""
        self.keeps = False
        self.kept.clear()
        self.step.note(text)

    def features(self, places: range) -> torch.Tensor:
        """The outputs of the lower layers for the slices at these positions."""
        with torch.set_grad_enabled(self.keeps):
            x = self.forward(self.lower, places)
        if self.keeps:
            self.kept[places] = x
        return x.detach()

    def learn_upper(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The mean loss and its gradient with respect to the features; sets the gradients of the upper layers."""
        self.upper.zero_grad()
        x = features.detach().requires_grad_(bool(self.parameters))
        f = self.drawn(self.upper, x, torch.arange(self.batch.total), number=self.batch.total)  # (total, c)
        loss = self.step.loss(f.float(), self.batch.whole).sum() / self.batch.total
        loss.backward()
        return loss.detach(), x.grad

    def learn_lower(self, places: range) -> None:
        """Adds the gradients of the lower layers for the slices at these positions."""
        self.gradients.begin()
        x = self.kept.pop(places) if places in self.kept else self.forward(self.lower, places)
        first = int(self.batch.rows[places.start])
        x.backward(self.slope[first : first + len(places)])
        self.gradients.take()
