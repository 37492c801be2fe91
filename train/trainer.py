"""Training of a network from settings and slices, with the same result after any interruption."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ildfv import distributed
from ildfv.errors import check
from ildfv.evaluation.metrics import roc_auc
from ildfv.patterns import PATTERNS, presence
from ildfv.progress import SILENT, Progress
from ildfv.store.atomic import check_space, sweep
from ildfv.store.fingerprint import empty
from ildfv.store.lock import writing
from ildfv.store.models import has_model, load_info
from ildfv.streaming.feeding import feed, outputs
from ildfv.train import networks
from ildfv.train.checkpoint import Checkpoint, SaveSchedule
from ildfv.train.compiled import Compiled, should_compile
from ildfv.train.data import READ, Epoch, SliceSet, labelled_only, train_mean_std
from ildfv.train.determinism import deterministic
from ildfv.train.objective import Objective
from ildfv.train.optimizer import make_optimizer, rate
from ildfv.train.settings import TrainSettings, check_same, identity
from ildfv.train.step import Step
from ildfv.train.tensorboard import tensorboard_log

__all__ = ["TrainResult", "TrainSettings", "predict", "train"]


@dataclass(frozen=True)
class TrainResult:
    """A finished training."""

    folder: Path
    network: networks.Network
    history: list[dict]  # one row per epoch: epoch, loss, validation_loss, validation_auc, mean_auc; None = undefined
    epoch: int  # the epoch whose weights were kept
    ms_per_slice: float | None  # over the steps of this call; None if there were none


def train(
    settings: TrainSettings,
    slices: SliceSet,
    fit_indices,
    validation_indices,
    folder: Path,
    *,
    device: str = "cpu",
    progress: Progress = SILENT,
    checkpoint_seconds: float = 20.0,
    compile: bool | None = None,
    fresh: bool = False,
) -> TrainResult:
    """The network trained on the fit slices and saved in `folder`; unlabelled slices are excluded.

    Resumes from the last checkpoint: a run that was killed at any moment and repeated gives the same bytes as an
    uninterrupted run on the same machine with the same number of threads (except for the TensorBoard log, which has
    times). Checkpoints are written between steps, every `checkpoint_seconds` or less often, so that writing takes less
    than a tenth of the time. A folder with another training is an InputError, or is emptied first if `fresh` is true.

    Normalisation, β and weights are computed from the fit slices, validation metrics and select="best" from the
    validation slices. No other slices are read.

    Under torchrun the shards of each step are distributed to the ranks (data parallel). The result is the same to the
    bit for any number of ranks with the same number of threads each; ranks beyond the number of shards are idle.

    compile: whether to use `torch.compile`, on a GPU only; None: on a GPU with enough slices, unless it fails. Compiled
    sums are rounded differently, so the last bits of the result differ.
    """
    folder = Path(folder)
    fit, validation = labelled_only(slices, fit_indices), labelled_only(slices, validation_indices)
    check(len(fit) > 0, "training needs at least one labelled slice, got none")
    patients = np.asarray(slices.patients)
    shared = set(patients[fit]) & set(patients[validation])
    check(not shared, f"fit and validation slices must be of different patients, got {len(shared)} patients in both")
    asked = identity(settings, slices, fit, validation)
    with ExitStack() as stack:
        if distributed.is_main():
            stack.enter_context(writing(folder))
            sweep(folder)
            if fresh and _existing_identity(folder, asked) != asked:
                empty(folder)
        found = distributed.from_main(load_info(folder) if distributed.is_main() and has_model(folder) else None)
        if found is None:
            saves = SaveSchedule(checkpoint_seconds)
            return _Run(settings, slices, fit, validation, folder, device, progress, asked, saves, compile).finish()
        check_same(asked, found.get("identity"), folder)
        if distributed.is_main():
            Checkpoint(folder).remove()
        return TrainResult(folder, networks.load(folder, device), found["history"], found["epoch"], None)


def _existing_identity(folder: Path, asked: dict) -> dict | None:
    """The identity of the training in the folder, finished or not; `asked` if there is none."""
    found = [load_info(place) for place in (folder, Checkpoint(folder).folder) if has_model(place)]
    return found[0].get("identity") if found else asked


class _Run:
    """A training run in progress."""

    def __init__(self, settings, slices, fit, validation, folder, device, progress, asked, saves, compile):
        s = self.settings = settings
        self.slices, self.fit, self.validation = slices, fit, validation
        self.folder, self.device, self.progress, self.identity = folder, torch.device(device), progress, asked
        self.counts = np.asarray(slices.counts)  # (N, c)
        self.objective = Objective(s, self.counts, fit, self.device)
        self.network = networks.build(s.network, n_outputs=self.counts.shape[1], seed=s.seed, dropout=s.dropout)
        if s.weights:
            networks.load_weights(self.network, Path(s.weights))
        self.network.to(self.device)
        self.optimizer = make_optimizer(s, self.network)
        compiled = None
        if should_compile(compile, self.device, s.epochs * len(fit)):
            compiled = Compiled(self.network, insist=bool(compile), note=progress.note)
        # Not a bound method: a reference cycle would keep CNN-F's 0.9 GB alive.
        loss = self.objective
        self.step = Step(self.network, self.optimizer, loss, self.device, s.bfloat16, compiled, progress.note)
        self.checkpoint, self.saves = Checkpoint(folder), saves
        self.history: list[dict] = []
        self.losses: list[float] = []  # mean loss per slice of the steps of the current epoch that were transferred
        self.best: dict[str, np.ndarray] | None = None  # weights of the best epoch so far, for select="best"
        self.steps = len(self._epoch(0))  # per epoch
        self._check()

    def _check(self) -> None:
        """InputError before the first step if the training could not be completed."""
        s = self.settings
        if any(isinstance(module, torch.nn.BatchNorm1d) for module in self.network.modules()):
            least = len(self.fit) // self.steps // s.shards
            rule = (
                f"each of the {s.shards} shards of a step must have two slices for batch normalisation in {s.network}"
            )
            check(least >= 2, f"{rule}, got {least}: increase batch_size or reduce shards")
        if distributed.is_main():
            check_space(self.folder, sum(t.numel() * t.element_size() for t in self.network.state_dict().values()))
        if s.shards < distributed.size():
            ranks = distributed.size()
            self.progress.note(f"some ranks are idle: shards = {s.shards} for {ranks} ranks")

    def finish(self) -> TrainResult:
        """Runs the remaining epochs and saves the model."""
        s, fit = self.settings, len(self.fit)
        self._start()
        done, seconds = len(self.history) * fit + self._epoch(0).size(len(self.losses)), 0.0
        with ExitStack() as stack:
            log = stack.enter_context(tensorboard_log(self.folder, len(self.history) * self.steps))
            advance = stack.enter_context(self.progress.task(f"Training {s.network}", s.epochs * fit, done))
            for epoch in range(len(self.history), s.epochs):
                started = time.monotonic()
                step_losses = self._learn(epoch, advance)
                seconds += time.monotonic() - started
                self.history.append(self._validate(epoch, step_losses))
                log(self.history[-1], step_losses)
                self.progress.note(_line(self.history[-1], s.epochs))
                if s.select == "best" and self._chosen() == epoch + 1:
                    self.best = networks.tensors(self.network)
                if epoch + 1 < s.epochs and self._due():
                    self._save()
        if self.best is not None:
            networks.set_tensors(self.network, self.best)
        if distributed.is_main():
            networks.save(self.folder, self.network, self._info())
            self.checkpoint.remove()
        distributed.barrier()
        learned = s.epochs * fit - done
        pace = 1000 * seconds / learned if learned else None
        return TrainResult(self.folder, self.network.eval(), self.history, self._chosen(), pace)

    def _start(self) -> None:
        """Restores the last checkpoint, or computes the normalisation; on all ranks."""
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
        steps = f" and {len(self.losses)} of {self.steps} steps" if self.losses else ""
        self.progress.note(f"Resuming after epoch {len(self.history)} of {self.settings.epochs}{steps}")

    def _due(self) -> bool:
        """Whether a checkpoint is due, by the clock of rank 0."""
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
        shares: list[torch.Tensor] = []  # of this rank, of the steps since the last transfer
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
        """Moves the losses of the last steps, summed over ranks, to `losses`. It synchronises with the device."""
        values = torch.stack(shares).double().cpu().numpy() if shares else np.empty(0)
        values = distributed.sum_arrays({"losses": values})["losses"] if shares else values
        at = f"in epoch {epoch + 1} at {self.settings.learning_rate:g}"
        check(bool(np.isfinite(values).all()), f"learning_rate must be smaller: training diverged {at}")
        self.losses += values.tolist()
        shares.clear()

    def _validate(self, epoch: int, step_losses: list[float]) -> dict:
        """The epoch's row of the history; validation slices are distributed to the ranks."""
        row = {"epoch": epoch + 1, "loss": float(np.mean(step_losses))}
        if not len(self.validation):
            return row | {"validation_loss": None, "validation_auc": {}, "mean_auc": None}
        truth = presence(self.counts[self.validation], self.settings.threshold)  # (v, c)
        rows = np.arange(len(self.validation))
        # Whole batches are distributed, because the last bits of an output depend on its batch.
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
        """The epoch whose weights are kept, from 1; "best": highest mean validation AUC, then lowest loss."""
        if self.settings.select == "last" or not self.history:
            return len(self.history)

        def merit(row: dict) -> tuple[float, float]:
            loss = row["loss"] if row["validation_loss"] is None else row["validation_loss"]
            return (row["mean_auc"] or 0.0, -loss)

        return max(self.history, key=merit)["epoch"]

    def _info(self) -> dict:
        beta = self.objective.beta
        return {
            "kind": "network",
            "settings": asdict(self.settings),
            "identity": self.identity,
            "slices": {"fit": len(self.fit), "validation": len(self.validation)},
            "pattern_weights": None if beta is None else beta.tolist(),
            "epoch": self._chosen(),
            "history": self.history,
            "torch": torch.__version__,
        }


@torch.inference_mode()
def predict(
    network: networks.Network,
    slices: SliceSet,
    indices,
    *,
    device: str | torch.device = "cpu",
    batch_size: int = READ,
    progress: Progress = SILENT,
) -> np.ndarray:
    """Scores (m, c), float32, of these slices, in their order.

    After training with a logistic loss, 1/(1 + exp(−score)) is the probability that the pattern is present; after a
    regression the score estimates the target. The network is left on `device` in evaluation mode.
    """
    network = network.to(device).eval()
    indices = np.asarray(indices, dtype=np.int64)
    out = np.empty((len(indices), network.n_outputs), np.float32)
    batches = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]
    done = 0
    with progress.task("Predicting", total=len(indices)) as advance:
        for scores in outputs(network, slices.images, batches, torch.device(device), progress.note):
            out[done : done + len(scores)] = scores
            done += len(scores)
            advance(len(scores))
    return out


def _line(row: dict, epochs: int) -> str:
    text = f"Epoch {row['epoch']} of {epochs}: loss {row['loss']:.3f}"
    if row["validation_loss"] is not None:
        text += f", validation loss {row['validation_loss']:.3f}"
    return text + (f", mean AUC {row['mean_auc']:.3f}" if row["mean_auc"] is not None else "")
