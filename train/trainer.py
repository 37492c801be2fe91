"""Training: settings and slices in; out comes a network that is the same whatever interrupted it."""

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
    history: list[dict]  # a row an epoch: epoch, loss, validation_loss, validation_auc, mean_auc; None = undefined
    epoch: int  # whose weights were kept
    ms_per_slice: float | None  # over the steps of this call; None if nothing was left to do


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
    """The network trained on the fit slices and saved in `folder`; slices without a label map are left out.

    Goes on from the last checkpoint: killed anywhere and run again, it ends with the bytes of an undisturbed run on the
    same machine with as many threads (the TensorBoard log aside, which holds times). Checkpoints are written between
    steps, `checkpoint_seconds` apart or as much more as keeps writing below a tenth of the time. A folder that holds
    another training is refused, or emptied first where `fresh` is true.

    Only the slices named are read: normalisation, β and weights come from the fit slices, the early metrics and
    select="best" from the validation slices.

    Under torchrun the shards of each step are dealt to the ranks (data parallel): the result is the same to the bit for
    any number of ranks with as many threads each, and more ranks than shards have nothing to do.

    compile: whether steps go through `torch.compile`, on a GPU alone; None: there, with enough slices to make up for
    it, and without it where it fails. Its sums are rounded otherwise, as those of another device are.
    """
    folder = Path(folder)
    fit, validation = labelled_only(slices, fit_indices), labelled_only(slices, validation_indices)
    check(len(fit) > 0, "training must have at least one labelled slice, got none")
    patients = np.asarray(slices.patients)
    shared = set(patients[fit]) & set(patients[validation])
    check(not shared, f"fit and validation slices must share no patient, got {len(shared)} in both")
    asked = identity(settings, slices, fit, validation)
    with ExitStack() as stack:
        if distributed.is_main():
            stack.enter_context(writing(folder))
            sweep(folder)
            if fresh and _begun(folder, asked) != asked:
                empty(folder)
        found = distributed.from_main(load_info(folder) if distributed.is_main() and has_model(folder) else None)
        if found is None:
            saves = SaveSchedule(checkpoint_seconds)
            return _Run(settings, slices, fit, validation, folder, device, progress, asked, saves, compile).finish()
        check_same(asked, found.get("identity"), folder)
        if distributed.is_main():
            Checkpoint(folder).remove()
        return TrainResult(folder, networks.load(folder, device), found["history"], found["epoch"], None)


def _begun(folder: Path, asked: dict) -> dict | None:
    """The identity of the training that the folder holds, finished or not; `asked` where it holds none."""
    found = [load_info(place) for place in (folder, Checkpoint(folder).folder) if has_model(place)]
    return found[0].get("identity") if found else asked


class _Run:
    """One training under way."""

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
        # Not a method of this run: step and run would hold each other, and CNN-F's 0.9 GB with them.
        loss = self.objective
        self.step = Step(self.network, self.optimizer, loss, self.device, s.bfloat16, compiled, progress.note)
        self.checkpoint, self.saves = Checkpoint(folder), saves
        self.history: list[dict] = []
        self.losses: list[float] = []  # mean loss of a slice in each step of the epoch under way, as far as known
        self.best: dict[str, np.ndarray] | None = None  # weights of the best epoch so far, for select="best"
        self.steps = len(self._epoch(0))  # an epoch
        self._check()

    def _check(self) -> None:
        """InputError, before anything is learned, where the end could not be reached."""
        s = self.settings
        if any(isinstance(module, torch.nn.BatchNorm1d) for module in self.network.modules()):
            least = len(self.fit) // self.steps // s.shards
            rule = f"{s.network} normalises over slices, so each of {s.shards} shards of a step must have two of them"
            check(least >= 2, f"{rule}, got {least}: a larger batch_size, or fewer shards")
        if distributed.is_main():
            check_space(self.folder, sum(t.numel() * t.element_size() for t in self.network.state_dict().values()))
        if s.shards < distributed.size():
            ranks = distributed.size()
            self.progress.note(f"shards = {s.shards} leave ranks idle: {ranks} can share the work of as many")

    def finish(self) -> TrainResult:
        """The epochs that are left, and the finished model in its folder."""
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
                self.history.append(self._judge(epoch, step_losses))
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
        """The state of the last checkpoint, or a fresh normalisation; the same on every rank."""
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
        self.progress.note(f"Going on after epoch {len(self.history)} of {self.settings.epochs}{steps}")

    def _due(self) -> bool:
        """Whether it is time for a checkpoint, by the clock of rank 0."""
        return distributed.from_main(self.saves.due())

    def _save(self) -> None:
        if distributed.is_main():
            with self.saves.saving():
                self.checkpoint.save(self.network, self.optimizer, self.best, {**self._info(), "losses": self.losses})

    def _epoch(self, epoch: int, first: int = 0) -> Epoch:
        s = self.settings
        return Epoch(self.slices, self.fit, s.batch_size, s.seed, epoch, s.augment, first, s.shards)

    def _learn(self, epoch: int, advance: Callable) -> list[float]:
        """Mean loss of a slice in each step of one epoch, whose first steps may be done already."""
        s = self.settings
        self.network.train()
        shares: list[torch.Tensor] = []  # of this rank, of the steps since losses were last added up
        with deterministic(self.device):
            batches = feed(self._epoch(epoch, len(self.losses)), self.device)
            for i, (batch, images) in enumerate(batches, start=len(self.losses)):
                step = epoch * self.steps + i
                seed = s.seed * 1_000_003 + step
                shares.append(self.step(batch, images, seed, rate(s, step, s.epochs * self.steps)))
                advance(batch.total)
                if i + 1 < self.steps and self._due():
                    self._add_up(shares, epoch)
                    self._save()
        self._add_up(shares, epoch)
        losses, self.losses = self.losses, []
        return losses

    def _add_up(self, shares: list[torch.Tensor], epoch: int) -> None:
        """Moves the steps' losses, summed over ranks, to `losses`. It waits for the device: not for every step."""
        values = torch.stack(shares).double().cpu().numpy() if shares else np.empty(0)
        values = distributed.sum_arrays({"losses": values})["losses"] if shares else values
        at = f"in epoch {epoch + 1} at {self.settings.learning_rate:g}"
        check(bool(np.isfinite(values).all()), f"learning_rate must be smaller: training diverged {at}")
        self.losses += values.tolist()
        shares.clear()

    def _judge(self, epoch: int, step_losses: list[float]) -> dict:
        """The epoch's row of the history; validation slices are dealt to the ranks."""
        row = {"epoch": epoch + 1, "loss": float(np.mean(step_losses))}
        if not len(self.validation):
            return row | {"validation_loss": None, "validation_auc": {}, "mean_auc": None}
        truth = presence(self.counts[self.validation], self.settings.threshold)  # (v, c)
        rows = np.arange(len(self.validation))
        # Whole batches are dealt, as a network's last bits depend on what is computed together.
        dealt = distributed.share([rows[start : start + READ] for start in range(0, len(rows), READ)])
        mine = np.concatenate([rows[:0], *dealt])
        f = np.zeros(truth.shape)
        f[mine] = predict(self.network, self.slices, self.validation[mine], device=self.device)
        f = distributed.sum_arrays({"f": f})["f"]  # one rank fills a row, so the sum is exact
        loss = self.objective(torch.from_numpy(f).float().to(self.device), self.validation).mean()
        aucs = {name: roc_auc(truth[:, k], f[:, k]) for k, name in enumerate(PATTERNS)}
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
    """Answers f (m, c), float32, for these slices in their order: raw scores.

    After a logistic loss 1/(1 + exp(−f)) is the probability that the pattern is present; after a regression f
    estimates the target. The network stays on `device`, in evaluation mode.
    """
    network = network.to(device).eval()
    indices = np.asarray(indices, dtype=np.int64)
    out = np.empty((len(indices), network.n_outputs), np.float32)
    batches = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]
    done = 0
    with progress.task("Predicting", total=len(indices)) as advance:
        for answer in outputs(network, slices.images, batches, torch.device(device), progress.note):
            out[done : done + len(answer)] = answer
            done += len(answer)
            advance(len(answer))
    return out


def _line(row: dict, epochs: int) -> str:
    text = f"Epoch {row['epoch']} of {epochs}: loss {row['loss']:.3f}"
    if row["validation_loss"] is not None:
        text += f", validation loss {row['validation_loss']:.3f}"
    return text + (f", mean AUC {row['mean_auc']:.3f}" if row["mean_auc"] is not None else "")
