"""The epochs of a training run, its validation and its checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ildfv import distributed
from ildfv.counted import counted
from ildfv.errors import check
from ildfv.evaluation.metrics import roc_auc
from ildfv.patterns import PATTERNS, presence
from ildfv.store.atomic import check_space
from ildfv.streaming.allocator import freed_memory_kept
from ildfv.streaming.feeding import feed
from ildfv.train import networks
from ildfv.train.checkpoint import Checkpoint
from ildfv.train.compiled import Compiled, should_compile
from ildfv.train.data import READ, Epoch, train_mean_std
from ildfv.train.determinism import deterministic
from ildfv.train.objective import Objective
from ildfv.train.optimizer import make_optimizer, rate
from ildfv.train.precision import check_bfloat16
from ildfv.train.prediction import predict
from ildfv.train.selection import is_exhausted, kept_epoch
from ildfv.train.settings import TrainSettings, check_same
from ildfv.train.step import Step
from ildfv.train.tensorboard import tensorboard_log


@dataclass(frozen=True)
class TrainResult:
    """A finished training run."""

    folder: Path
    network: networks.Network
    history: list[dict]  # a row per epoch: epoch, loss, validation_loss, validation_auc, mean_auc; None if undefined
    epoch: int  # the epoch whose weights were kept
    ms_per_slice: float | None  # over the steps of this call; None if there were none


class Run:
    """A training run in progress."""

    def __init__(self, settings, slices, fit, validation, folder, device, progress, identity, saves, compile):
        s = self.settings = settings
        self.slices, self.fit, self.validation = slices, fit, validation
        self.folder, self.device, self.progress, self.identity = folder, torch.device(device), progress, identity
        self.counts = np.asarray(slices.counts)  # (N, c)
        self.lung = None if slices.lung is None else np.asarray(slices.lung)  # (N,)
        self.objective = Objective(s, self.counts, fit, self.device, self.lung)
        self.network = networks.build(s.network, n_outputs=self.counts.shape[1], seed=s.seed, dropout=s.dropout)
        if s.weights:
            networks.load_weights(self.network, Path(s.weights))
        self.network.to(self.device)
        self.optimizer = make_optimizer(s, self.network)
        compiled = None
        if should_compile(compile, self.device, s.epochs * len(fit)):
            compiled = Compiled(self.network, insist=bool(compile), note=progress.note)
        # The loss is not a bound method of this object: a reference cycle would keep CNN-F's 0.9 GB in memory.
        loss = self.objective
        self.step = Step(self.network, self.optimizer, loss, self.device, s.bfloat16, compiled, progress.note)
        self.checkpoint, self.saves = Checkpoint(folder), saves
        self.history: list[dict] = []
        self.losses: list[float] = []  # mean loss per slice of each step of the current epoch, up to the last transfer
        self.best: dict[str, np.ndarray] | None = None  # weights of the best epoch so far, for select="best"
        self.steps = len(self._epoch(0))  # per epoch
        self._check()

    def _check(self) -> None:
        """Raises InputError before the first step if the training run cannot be completed."""
        s = self.settings
        if s.bfloat16:
            check_bfloat16(self.device)
        if any(isinstance(module, torch.nn.BatchNorm1d) for module in self.network.modules()):
            least = len(self.fit) // self.steps // s.shards
            rule = f"each shard must have at least 2 slices for the batch normalisation of {s.network}"
            check(least >= 2, f"{rule}, got {least}: increase batch_size or reduce shards")
        if distributed.is_main():
            check_space(self.folder, sum(t.numel() * t.element_size() for t in self.network.state_dict().values()))
        if s.shards < distributed.size():
            ranks = distributed.size()
            self.progress.note(
                f"some of the {ranks} ranks are idle, because the number of shards is {s.shards}: use "
                f"`ildfv train --shards {ranks}`"
            )

    def finish(self) -> TrainResult:
        """Runs the remaining epochs and saves the model."""
        s, fit = self.settings, len(self.fit)
        self._start()
        done, seconds = len(self.history) * fit + self._epoch(0).size(len(self.losses)), 0.0
        with ExitStack() as stack:
            if self.device.type == "cpu":
                stack.enter_context(freed_memory_kept())
            log = stack.enter_context(tensorboard_log(self.folder, len(self.history) * self.steps))
            advance = stack.enter_context(self.progress.task(f"Training {s.network}", s.epochs * fit, done))
            while not self._ended():
                epoch = len(self.history)
                started = time.monotonic()
                step_losses = self._learn(epoch, advance)
                seconds += time.monotonic() - started
                self.history.append(self._validate(epoch, step_losses))
                log(self.history[-1], step_losses)
                self.progress.note(_line(self.history[-1], s.epochs))
                if s.select == "best" and self._chosen() == epoch + 1:
                    # copies: on a CPU, these arrays share the memory of the weights, which later steps change
                    self.best = {key: value.copy() for key, value in networks.tensors(self.network).items()}
                if not self._ended() and self._due():
                    self._save()
        if self._stopped():
            self.progress.note(_stop_line(self._chosen(), len(self.history), s))
        if self.best is not None:
            networks.set_tensors(self.network, self.best)
        if distributed.is_main():
            networks.save(self.folder, self.network, self._info())
            self.checkpoint.remove()
        distributed.barrier()
        learned = len(self.history) * fit - done
        pace = 1000 * seconds / learned if learned else None
        return TrainResult(self.folder, self.network.eval(), self.history, self._chosen(), pace)

    def _start(self) -> None:
        """Restores the last checkpoint on all ranks or, if there is none, computes the normalisation."""
        info = None
        if distributed.is_main() and self.checkpoint.exists():
            info = self.checkpoint.info()
            check_same(self.identity, info["identity"], self.folder)
            self.best = self.checkpoint.load(self.network, self.optimizer)
        info = distributed.from_main(info)
        if info is None:
            self.network.normalise(*train_mean_std(self.slices, self.fit, progress=self.progress))
            return
        self.checkpoint.share(self.network, self.optimizer)
        self.best = distributed.from_main(self.best)
        self.history, self.losses = info["history"], info["losses"]
        steps = f", step {len(self.losses)} of {self.steps} of the next epoch" if self.losses else ""
        self.progress.note(f"Resuming after epoch {len(self.history)} of {self.settings.epochs}{steps}")

    def _ended(self) -> bool:
        """Whether no epoch remains, according to rank 0."""
        return len(self.history) == self.settings.epochs or self._stopped()

    def _stopped(self) -> bool:
        """Whether training stops, or has stopped, before its last epoch, according to rank 0."""
        early = len(self.history) < self.settings.epochs and is_exhausted(self.history, self.settings.patience)
        return distributed.from_main(early)

    def _due(self) -> bool:
        """Whether a checkpoint is due according to the clock of rank 0."""
        return distributed.from_main(self.saves.due())

    def _save(self) -> None:
        if distributed.is_main():
            with self.saves.saving():
                self.checkpoint.save(self.network, self.optimizer, self.best, {**self._info(), "losses": self.losses})

    def _epoch(self, epoch: int, first: int = 0) -> Epoch:
        s = self.settings
        return Epoch(self.slices, self.fit, s.batch_size, s.seed, epoch, s.augment, first, s.shards)

    def _learn(self, epoch: int, advance: Callable) -> list[float]:
        """Runs the remaining steps of an epoch; returns the mean loss per slice of each of its steps."""
        s = self.settings
        self.network.train()
        shares: list[torch.Tensor] = []  # this rank's shares of the losses of the steps since the last transfer
        with deterministic(self.device):
            batches = feed(self._epoch(epoch, len(self.losses)), self.device)
            for i, (batch, images) in enumerate(batches, start=len(self.losses)):
                step = epoch * self.steps + i
                seed = s.seed * 1_000_003 + step
                shares.append(self.step(batch, images, seed, rate(s, step, s.epochs * self.steps)))
                advance(batch.total)
                if i + 1 < self.steps and self._due():
                    self._collect(shares, epoch)
                    self._save()
        self._collect(shares, epoch)
        losses, self.losses = self.losses, []
        return losses

    def _collect(self, shares: list[torch.Tensor], epoch: int) -> None:
        """Moves `shares`, summed over ranks, from the device to `self.losses`. This synchronises with the device."""
        values = torch.stack(shares).double().cpu().numpy() if shares else np.empty(0)
        values = distributed.sum_arrays({"losses": values})["losses"] if shares else values
        rule = f"learning_rate must be smaller than {self.settings.learning_rate:g}"
        check(bool(np.isfinite(values).all()), f"{rule}: training diverged in epoch {epoch + 1}")
        self.losses += values.tolist()
        shares.clear()

    def _validate(self, epoch: int, step_losses: list[float]) -> dict:
        """The epoch's row of the history. The validation slices are divided among the ranks."""
        row = {"epoch": epoch + 1, "loss": float(np.mean(step_losses))}
        if not len(self.validation):
            return row | {"validation_loss": None, "validation_auc": {}, "mean_auc": None}
        lung = None if self.lung is None else self.lung[self.validation]
        truth = presence(self.counts[self.validation], self.settings.threshold, lung)  # (v, c)
        rows = np.arange(len(self.validation))
        # Each rank has whole batches, because the last bits of an output depend on its batch.
        shares = distributed.share([rows[start : start + READ] for start in range(0, len(rows), READ)])
        mine = np.concatenate([rows[:0], *shares])
        f = np.zeros(truth.shape)
        f[mine] = predict(self.network, self.slices, self.validation[mine], device=self.device)
        f = distributed.sum_arrays({"f": f})["f"]  # only one rank sets each row, so the sum is exact
        loss = self.objective(torch.from_numpy(f).float().to(self.device), self.validation).mean()
        known = truth >= 0
        aucs = {name: roc_auc(truth[known[:, k], k], f[known[:, k], k]) for k, name in enumerate(PATTERNS)}
        defined = [auc for auc in aucs.values() if not math.isnan(auc)]
        return row | {
            "validation_loss": float(loss),
            "validation_auc": {name: None if math.isnan(auc) else auc for name, auc in aucs.items()},
            "mean_auc": float(np.mean(defined)) if defined else None,
        }

    def _chosen(self) -> int:
        """The number, from 1, of the epoch whose weights are kept."""
        return kept_epoch(self.history, self.settings.select)

    def _info(self) -> dict:
        beta = self.objective.beta
        return {
            "kind": "network",
            "settings": self.settings.recorded(),
            "identity": self.identity,
            "slices": {"fit": len(self.fit), "validation": len(self.validation)},
            "pattern_weights": None if beta is None else beta.tolist(),
            "epoch": self._chosen(),
            "history": self.history,
            "torch": torch.__version__,
        }


def _stop_line(best: int, last: int, settings: TrainSettings) -> str:
    assert settings.patience is not None
    without = f"{counted(settings.patience, 'epoch')} without improvement"
    return f"Training stopped after epoch {last} of {settings.epochs}: {without}. The weights of epoch {best} are kept"


def _line(row: dict, epochs: int) -> str:
    text = f"Epoch {row['epoch']} of {epochs}: loss {row['loss']:.3f}"
    if row["validation_loss"] is not None:
        text += f", validation loss {row['validation_loss']:.3f}"
    return text + (f", mean AUC {row['mean_auc']:.3f}" if row["mean_auc"] is not None else "")
