"""The workspace, preset, folds and folders that all experiments of one run share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ildfv import distributed
from ildfv.errors import check
from ildfv.experiments.paper import Paper
from ildfv.experiments.presets import Preset
from ildfv.experiments.recipes import Cnn, Encoded, Patches, System
from ildfv.pipeline.devices import resolve
from ildfv.pipeline.encode import EncodeSettings
from ildfv.pipeline.split import Split, load_folds, split_slices, write_folds
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT, Progress
from ildfv.store.atomic import key_of
from ildfv.train.settings import TrainSettings

T = TypeVar("T")


class Context:
    """One workspace under one preset: its recipes, folds and split, and the folders of fitted models and results.

    Everything is stored in experiments/<key of slices and folds>/ of the workspace, so results of other slices or folds
    are never mixed with these: models/, encodings/, label-maps/ and scores/ hold one folder per system and fold.
    """

    def __init__(
        self,
        root: Path,
        preset: Preset,
        *,
        paper: Path | None = None,
        device: str = "auto",
        progress: Progress = SILENT,
    ):
        check(distributed.size() == 1, "experiments must run in one process, got a launch by torchrun")
        self.workspace, self.preset, self.progress = Workspace.open(root), preset, progress
        self.paper = Paper.load(paper)
        self.slices = self.workspace.slices()
        if not self.workspace.folds_file.exists():
            write_folds(self.workspace, n_folds=preset.folds)
        self.folds = load_folds(self.workspace)
        self.remarks = self._remarks()
        for remark in self.remarks:
            progress.note(remark)
        self.device = resolve(device)
        self.threshold = self.workspace.settings.threshold
        self.key = key_of(self.slices.key, self.folds.sha256)
        self.folder = self.workspace.root / "experiments" / self.key
        self.made: Callable[[], None] = lambda: None  # called when a network, an encoding or scores are finished
        self._splits: dict[tuple[int, float], Split] = {}
        self._remembered: dict[tuple, Any] = {}

    def _remarks(self) -> list[str]:
        """Remarks that every result document repeats."""
        gaps = [f"{line}." for line in self.folds.warnings()]
        if self.folds.n_folds == self.preset.folds:
            return gaps
        return [
            *gaps,
            f"The workspace has {self.folds.n_folds} folds, where preset {self.preset.name} makes {self.preset.folds}: "
            f"`ildfv folds --folds {self.preset.folds} --fresh` creates a new split; everything is then trained again.",
        ]

    def place(self, kind: str, system: System, fold: int) -> Path:
        """The folder of the system's "models", "encodings", "label-maps" or "scores" with this fold held out."""
        return self.folder / kind / system.folder / f"fold-{fold}"

    def remember(self, key: tuple, compute: Callable[[], T]) -> T:
        """The value of `compute`, called once per key as long as this context is used."""
        if key not in self._remembered:
            self._remembered[key] = compute()
        return self._remembered[key]

    # -- recipes ----------------------------------------------------------------------------------------------------

    def cnn(
        self,
        label: str,
        *,
        threshold: int | None = None,
        patients: float = 1.0,
        keep_weights: bool = False,
        **settings,
    ) -> Cnn:
        """A network trained with the preset's settings; settings: fields of `TrainSettings` that differ."""
        threshold = self.threshold if threshold is None else threshold
        given: dict[str, Any] = {
            "network": self.preset.network,
            "seed": self.workspace.settings.seed,
            "threshold": threshold,
        }
        chosen = TrainSettings(**(given | dict(self.preset.train) | settings))
        return Cnn(label, chosen, threshold, patients, keep_weights)

    @cached_property
    def base(self) -> Cnn:
        """The network whose layers are encoded: logistic loss, the workspace's T."""
        return self.cnn("CNN", keep_weights=True)

    def encoded(self, label: str, layer: str, *, network: Cnn | None = None, **options) -> Encoded:
        """A layer of a network (the base) under an encoder; options: further fields of `Encoded`."""
        p = self.preset
        settings = EncodeSettings(layer, p.components, p.dimensions, passes=p.passes, seed=self.workspace.settings.seed)
        return Encoded(label, network or self.base, settings, words=p.words, **options)

    def patches(self, label: str) -> Patches:
        """The patch baseline as this preset trains it."""
        from ildfv.train.patches import MAJORITY

        settings = TrainSettings(
            network="patch",
            threshold=MAJORITY,
            epochs=self.preset.patch_epochs,
            batch_size=64,
            seed=self.workspace.settings.seed,
        )
        return Patches(label, settings, self.threshold, self.preset.patches_per_slice, self.preset.lungs)

    # -- folds and splits ---------------------------------------------------------------------------------------------

    def held_out(self, system: System | None = None) -> list[int]:
        """The folds that are held out in turn."""
        limits = (self.folds.n_folds, self.preset.run, None if system is None else system.folds)
        return list(range(min(n for n in limits if n is not None)))

    def split(self, fold: int, patients: float = 1.0) -> Split:
        """The fold's split; `patients`: with this share of the fit patients only, drawn by the workspace's seed."""
        if (fold, patients) not in self._splits:
            split = split_slices(self.slices, self.folds, fold)
            if patients < 1:
                names = np.unique(self.slices.patients[split.fit])
                random = np.random.default_rng([self.workspace.settings.seed, fold])
                chosen = random.permutation(names)[: max(2, round(patients * len(names)))]
                fit = split.fit[np.isin(self.slices.patients[split.fit], chosen)]
                split = replace(split, fit=fit, train=np.sort(np.concatenate([fit, split.validation])))
            self._splits[fold, patients] = split
        return self._splits[fold, patients]
