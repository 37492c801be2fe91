"""The workspace, preset, folds and folders that all experiments of one run share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ildfv import distributed
from ildfv.appearance import by_appearance
from ildfv.counted import counted
from ildfv.errors import check
from ildfv.evaluation.fold_warnings import fold_warnings
from ildfv.experiments.paper import T4000
from ildfv.experiments.presets import Preset
from ildfv.experiments.recipes import Cnn, Encoded, Patches, System, patients_of
from ildfv.patterns import PRESENT
from ildfv.pipeline.by_scan import refuse_scan_labels
from ildfv.pipeline.choices import SLICE
from ildfv.pipeline.devices import resolve
from ildfv.pipeline.encode import EncodeSettings
from ildfv.pipeline.split import Split, load_folds, split_slices, write_folds
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT, Progress
from ildfv.store.atomic import key_of
from ildfv.train.settings import TrainSettings

T = TypeVar("T")


class Context:
    """A workspace and a preset: creates recipes of systems, and provides folds, splits and folders.

    Everything is stored in experiments/<key of slices and folds>/ of the workspace, so results of different slices or
    folds are never mixed. Its subfolders models/, encodings/, label-maps/ and scores/ have one folder per system and
    fold.
    """

    def __init__(
        self,
        root: Path,
        preset: Preset,
        *,
        other: Path | None = None,
        device: str = "auto",
        progress: Progress = SILENT,
    ):
        ranks = distributed.size()
        check(ranks == 1, f"experiments must run in one process, got {ranks} ranks: run them without torchrun")
        self.workspace, self.preset, self.progress = Workspace.open(root), preset, progress
        self.other = other  # a second workspace, on which the systems of this workspace are tested
        self.slices = self.workspace.slices()
        refuse_scan_labels(self.slices, "experiment", "use `ildfv fit`")
        n_present = int((self.slices.counts >= PRESENT).any(axis=1).sum())
        rule = "experiment needs numbers of pixels, because the paper's presence and regressions depend on them"
        got = f"got labels 0 and 1 ({counted(n_present, 'slice')} with a 1)"
        check(n_present == 0, f"{rule}, {got}: use `ildfv fit`")
        if not self.workspace.folds_file.exists():
            write_folds(self.workspace, n_folds=preset.folds)
        self.folds = load_folds(self.workspace)
        self.remarks = self._remarks()
        for remark in self.remarks:
            progress.note(remark)
        self.device = resolve(device)
        self.key = key_of(self.slices.key, self.folds.sha256)
        self.folder = self.workspace.root / "experiments" / self.key
        self.record_time: Callable[[], None] = lambda: None  # called after each network, encoding and set of scores
        self._splits: dict[tuple[int, int | None, float], Split] = {}
        self._remembered: dict[tuple, Any] = {}

    def _remarks(self) -> list[str]:
        """Notes that are included in every result document."""
        gaps = [f"{line}." for line in fold_warnings(self.folds)]
        if self.folds.n_folds == self.preset.folds:
            return gaps
        return [
            *gaps,
            f"The workspace has {self.folds.n_folds} folds, but preset {self.preset.name} uses {self.preset.folds}. "
            f"`ildfv folds --folds {self.preset.folds} --fresh` creates new folds, and everything is then trained "
            "again.",
        ]

    def place(self, kind: str, system: System, fold: int) -> Path:
        """The folder of the system's "models", "encodings", "label-maps" or "scores" with this fold held out."""
        return self.folder / kind / system.folder / f"fold-{fold}"

    def remember(self, key: tuple, compute: Callable[[], T]) -> T:
        """The value of `compute`, which is called only once for each key."""
        if key not in self._remembered:
            self._remembered[key] = compute()
        return self._remembered[key]

    # -- recipes ----------------------------------------------------------------------------------------------------

    def cnn(
        self,
        label: str,
        *,
        threshold: int = T4000,
        patients: int | None = None,
        share: float = 1.0,
        keep_weights: bool = False,
        **settings,
    ) -> Cnn:
        """A network trained with the preset's settings.

        label, threshold, patients, share, keep_weights: fields of `Cnn`. `threshold` is also the T of the training
        targets. settings: fields of `TrainSettings` that override the preset's.
        """
        defaults: dict[str, Any] = {
            "network": self.preset.network,
            "seed": self.workspace.settings.seed,
            "threshold": threshold,
        }
        chosen = TrainSettings(**(defaults | dict(self.preset.train) | settings))
        return Cnn(label, chosen, threshold, patients, share, keep_weights)

    def regression(self, label: str, loss: str = "smooth-l1", **options) -> Cnn:
        """A network that regresses pixel counts as in the paper.

        The unit of the loss is one pixel, so that smooth L1 is quadratic up to an error of one pixel. options:
        arguments of `cnn`.
        """
        return self.cnn(label, loss=loss, target="counts", unit=1.0, **options)

    @cached_property
    def base(self) -> Cnn:
        """The network whose layers are encoded (column CNN of Tables 5 and 6): smooth L1 regression of counts."""
        return self.regression("CNN", keep_weights=True)

    def encoded(self, label: str, layer: str, *, network: Cnn | None = None, **options) -> Encoded:
        """An encoding of a layer of a network; by default of the network `base`.

        options: components, dimensions and passes, if they differ from the preset's; region, by default the whole
        slice; and other fields of `Encoded`, except words and ridge, which are the preset's.
        """
        p = self.preset
        given: dict[str, Any] = {"components": p.components, "dimensions": p.dimensions, "passes": p.passes}
        given["region"] = SLICE
        given |= {name: options.pop(name) for name in given.keys() & options.keys()}
        settings = EncodeSettings(layer, **given, lungs=p.lungs, seed=self.workspace.settings.seed)
        return Encoded(label, network or self.base, settings, words=p.words, ridge=p.ridge, **options)

    def patches(self, label: str) -> Patches:
        """The patch baseline with the preset's settings."""
        from ildfv.train.patches import MAJORITY

        settings = TrainSettings(
            network="patch",
            threshold=MAJORITY,
            epochs=self.preset.patch_epochs,
            batch_size=64,
            seed=self.workspace.settings.seed,
        )
        return Patches(label, settings, T4000, self.preset.patches_per_slice, self.preset.lungs)

    # -- folds and splits ---------------------------------------------------------------------------------------------

    def held_out(self, system: System | None = None) -> list[int]:
        """The folds to hold out, one at a time. A system may limit their number."""
        limits = (self.folds.n_folds, self.preset.run, None if system is None else system.folds)
        return list(range(min(n for n in limits if n is not None)))

    def split_of(self, system: System, fold: int) -> Split:
        """The split on which the system is fitted, validated and tested."""
        return self.split(fold, *patients_of(system))

    def split(self, fold: int, patients: int | None = None, share: float = 1.0) -> Split:
        """The split of a fold, with all or some of the patients.

        patients: number of fit patients, drawn with the workspace's seed; a smaller number selects a subset of the
        patients that a larger number selects. If there are fewer fit patients, all are used. share: fraction of each
        fold's patients that are used.
        """
        key = (fold, patients, share)
        if key not in self._splits:
            split = split_slices(self.slices, self.folds, fold)
            if share < 1:
                split = self._small_split(split, share)
            if patients is not None:
                random = np.random.default_rng([self.workspace.settings.seed, fold])
                some = random.permutation(by_appearance(self.slices.patients[split.fit])[0])[:patients]
                fit = self._slices_of(some, split.fit)
                split = replace(split, fit=fit, train=np.union1d(fit, split.validation))
            self._splits[key] = split
        return self._splits[key]

    def fit_patients(self) -> int:
        """The smallest number of fit patients of any held-out fold."""
        return min(len(np.unique(self.slices.patients[self.split(fold).fit])) for fold in self.held_out())

    def _small_split(self, split: Split, share: float) -> Split:
        """The split with a share of each fold's patients. A fifth of its training patients is used for validation."""
        chosen = {fold: self._drawn_patients(fold, share) for fold in range(self.folds.n_folds)}
        train = np.concatenate([names for fold, names in chosen.items() if fold != split.fold])
        random = np.random.default_rng([self.workspace.settings.seed, split.fold])
        train = random.permutation(train)
        n = max(1, round(len(train) / 5))
        parts = {"validation": train[:n], "fit": train[n:], "train": train}
        indices: dict[str, Any] = {name: self._slices_of(names, split.train) for name, names in parts.items()}
        return replace(split, test=self._slices_of(chosen[split.fold], split.test), **indices)

    def _drawn_patients(self, fold: int, share: float) -> np.ndarray:
        """A share of the fold's patients with labels, at least two patients, drawn with the workspace's seed."""
        names, _, _ = by_appearance(self.slices.patients[split_slices(self.slices, self.folds, fold).test])
        random = np.random.default_rng([self.workspace.settings.seed, fold, 1])
        return random.permutation(names)[: max(2, round(share * len(names)))]

    def _slices_of(self, patients: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """The slices among `indices` that belong to these patients."""
        return indices[np.isin(self.slices.patients[indices], patients)]
