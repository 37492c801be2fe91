"""Where experiments work: trained networks, encodings and scores of one workspace, each made once and found again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ildfv import distributed
from ildfv.errors import check
from ildfv.evaluation.documents import Comparison
from ildfv.evaluation.results import Predictions, compare, evaluate, spread
from ildfv.evaluation.thresholds import Decisions
from ildfv.experiments.paper import Paper
from ildfv.experiments.presets import Preset
from ildfv.experiments.systems import Cnn, Encoded, Patches, Scores, System
from ildfv.patterns import PATTERNS
from ildfv.pipeline.devices import resolve
from ildfv.pipeline.encode import EncodeSettings
from ildfv.pipeline.split import Split, labelled_presence, load_folds, split_slices, write_folds
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT, Progress
from ildfv.store.atomic import key_of, read_json, sweep
from ildfv.store.lock import writing
from ildfv.store.models import INFO, TENSORS, has_model, load_model, save_model
from ildfv.train.settings import TrainSettings


class Lab:
    """One workspace under one preset: settings of systems, their fitted parts, predictions and documents.

    Everything lies in experiments/<key of slices and folds>/ of the workspace, so other slices or folds never meet
    what was made of these: models/, encodings/ and scores/, a folder a system and fold each.
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
        self._roles: dict[tuple[int, float], Split] = {}
        self._predictions: dict[System, list[Predictions]] = {}
        self._documents: dict[System, dict] = {}

    def _remarks(self) -> list[str]:
        """What whoever reads any result must know."""
        if self.folds.n_folds == self.preset.folds:
            return []
        return [
            f"The workspace has {self.folds.n_folds} folds, where preset {self.preset.name} makes {self.preset.folds}: "
            f"`ildfv folds --folds {self.preset.folds} --fresh` deals patients anew, and all is trained anew then."
        ]

    # -- settings ---------------------------------------------------------------------------------------------------

    def cnn(self, label: str, *, threshold: int | None = None, patients: float = 1.0, keep=False, **settings) -> Cnn:
        """A network trained as the preset says; settings: fields of `TrainSettings` that differ."""
        threshold = self.threshold if threshold is None else threshold
        given: dict[str, Any] = {
            "network": self.preset.network,
            "seed": self.workspace.settings.seed,
            "threshold": threshold,
        }
        chosen = TrainSettings(**(given | dict(self.preset.train) | settings))
        return Cnn(label, chosen, threshold, patients, keep)

    @cached_property
    def base(self) -> Cnn:
        """The network whose layers are encoded: logistic loss, the workspace's T."""
        return self.cnn("CNN", keep=True)

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

    # -- who sees what ----------------------------------------------------------------------------------------------

    def held_out(self, system: System | None = None) -> list[int]:
        """The folds that are held out in turn."""
        limits = (self.folds.n_folds, self.preset.run, None if system is None else system.folds)
        return list(range(min(n for n in limits if n is not None)))

    def roles(self, fold: int, patients: float = 1.0) -> Split:
        """The fold's roles; `patients`: with this share of the fit patients only, drawn by the workspace's seed."""
        if (fold, patients) not in self._roles:
            roles = split_slices(self.slices, self.folds, fold)
            if patients < 1:
                names = np.unique(self.slices.patients[roles.fit])
                random = np.random.default_rng([self.workspace.settings.seed, fold])
                chosen = random.permutation(names)[: max(2, round(patients * len(names)))]
                fit = roles.fit[np.isin(self.slices.patients[roles.fit], chosen)]
                roles = replace(roles, fit=fit, train=np.sort(np.concatenate([fit, roles.validation])))
            self._roles[fold, patients] = roles
        return self._roles[fold, patients]

    # -- what is fitted ---------------------------------------------------------------------------------------------

    def network(self, system: Cnn, fold: int) -> Path:
        """The folder of the trained network; trained now if it is not there."""
        from ildfv.train.trainer import train

        folder, roles = self.folder / "models" / system.folder / f"fold-{fold}", self.roles(fold, system.patients)
        if not has_model(folder):
            self.progress.note(f"Training {system.label} without fold {fold}")
            train(
                system.settings,
                self.slices,
                roles.fit,
                roles.validation,
                folder,
                device=self.device,
                progress=self.progress,
            )
            self.made()
        return folder

    def patch_network(self, system: Patches, fold: int) -> Path:
        """The folder of the patch baseline's trained network."""
        from ildfv.experiments.lungs import lungs
        from ildfv.train.patches import PatchSet
        from ildfv.train.trainer import train

        folder, roles = self.folder / "models" / system.folder / f"fold-{fold}", self.roles(fold)
        if not has_model(folder):
            patches = PatchSet(
                self.slices,
                roles.train,
                lambda indices: lungs(self.slices, indices, system.lungs),
                per_slice=system.per_slice,
                seed=system.settings.seed,
                progress=self.progress,
            )
            fit, validation = patches.of(roles.fit), patches.of(roles.validation)
            train(system.settings, patches, fit, validation, folder, device=self.device, progress=self.progress)
            self.made()
        return folder

    def scores(self, system: System, fold: int) -> Scores:
        """The system's scores of the fold, computed once; they lie in scores/."""
        folder, info = self.folder / "scores" / system.folder / f"fold-{fold}", {"inputs": system.inputs, "fold": fold}
        if has_model(folder):
            tensors, found_info = load_model(folder)
            same = key_of(found_info) == key_of(info)
            check(same, f"{folder} must hold scores of {system.folder} without fold {fold}, got others: remove it")
            return Scores(tensors["validation"], tensors["test"])
        found = system.scores(self, fold)
        with writing(folder):
            sweep(folder)
            save_model(folder, found._asdict(), info)
        self.made()
        if isinstance(system, Cnn) and not (system.keep or self.preset.keep_networks):
            (self.folder / "models" / system.folder / f"fold-{fold}" / TENSORS).unlink(missing_ok=True)
        return found

    def history(self, system: Cnn, fold: int) -> list[dict]:
        """What training told of its epochs, whether or not the weights were kept."""
        self.scores(system, fold)
        told = self.folder / "models" / system.folder / f"fold-{fold}" / INFO
        if not told.exists():  # removed since: training says the same again
            self.network(system, fold)
        return read_json(told)["history"]

    def is_scored(self, system: System) -> bool:
        """Whether all scores of the system are there already."""
        return all(has_model(self.folder / "scores" / system.folder / f"fold-{k}") for k in self.held_out(system))

    # -- what is measured -------------------------------------------------------------------------------------------

    def predictions(self, system: System) -> list[Predictions]:
        """One a held-out fold; decisions come from the validation slices."""
        if system not in self._predictions:
            found = []
            for fold in self.held_out(system):
                scores, roles = self.scores(system, fold), self.roles(fold)
                truth = labelled_presence(self.slices, roles.validation, system.threshold)
                found.append(
                    Predictions(
                        system=system.label,
                        fold=fold,
                        scores=scores.test,
                        presence=labelled_presence(self.slices, roles.test, system.threshold),
                        patients=self.slices.patients[roles.test],
                        decisions=Decisions.fit(truth, scores.validation),
                        labels=PATTERNS,
                    )
                )
            self._predictions[system] = found
        return self._predictions[system]

    def documents(self, system: System) -> dict:
        """{"pooled": results document over all held-out folds, "folds": one each, "spread": mean and SD over folds}."""
        if system in self._documents:
            return self._documents[system]
        found = self.predictions(system)
        options: dict[str, Any] = {
            "data": self.slices.data,
            "threshold": system.threshold,
            "n_resamples": self.preset.resamples,
            "seed": self.workspace.settings.seed,
            "settings": {"slices": self.slices.key, "preset": self.preset.name},
        }
        folds = [evaluate(one, **options) for one in found]
        self._documents[system] = {"pooled": evaluate(found, **options), "folds": folds, "spread": spread(folds)}
        return self._documents[system]

    def compare(self, a: System, b: System) -> Comparison:
        """Paired tests by patient between two systems over the folds that both were run on."""
        n = min(len(self.predictions(a)), len(self.predictions(b)))
        return compare(
            self.predictions(a)[:n],
            self.predictions(b)[:n],
            n_resamples=self.preset.resamples,
            seed=self.workspace.settings.seed,
        )
