"""The systems that experiments compare: each gives scores of validation and test slices of a fold.

A system is a frozen value: what decides its scores beside slices and folds, and nothing else. Equal values are trained
and encoded once, whichever experiments ask for them. Split decide what may be seen: weights, mixtures, codebooks, PCA
and regression come from training patients, thresholds from validation patients, and test slices are only scored.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from ildfv.patterns import PATTERNS
from ildfv.pipeline.encode import EncodeSettings
from ildfv.pipeline.regress import fit_regression
from ildfv.store.atomic import key_of
from ildfv.store.models import save_model
from ildfv.train.settings import TrainSettings

if TYPE_CHECKING:
    from ildfv.experiments.context import Lab


class Scores(NamedTuple):
    """(v, 4) and (t, 4), higher = more likely present, in the order of the roles' indices."""

    validation: np.ndarray
    test: np.ndarray


class System(Protocol):
    """What can be compared. Equal values are one system."""

    @property
    def label(self) -> str:
        """What tables call it."""

    @property
    def threshold(self) -> int:
        """The T of the presence that it is judged by."""

    @property
    def folds(self) -> int | None:
        """How many folds it is run on at most; None: as many as the preset says."""

    @property
    def inputs(self) -> dict:
        """All that the scores depend on beside slices and folds, JSON-able."""

    @property
    def folder(self) -> str:
        """Name of the folders that hold what is fitted: words, and a hash of the inputs."""

    def scores(self, lab: Lab, fold: int) -> Scores:
        """Fits on the fold's training patients what is not fitted yet, and scores."""


@dataclass(frozen=True)
class Cnn:
    """A network's own answers. patients: share of the fit patients that it is trained on.

    keep: its weights are wanted after its scores, for an encoding.
    """

    label: str
    settings: TrainSettings
    threshold: int
    patients: float = 1.0
    keep: bool = field(default=False, compare=False)
    folds: int | None = None

    @property
    def inputs(self) -> dict:
        """Not the T that it is judged by: a network that regresses counts answers for any."""
        return {"network": asdict(self.settings), "patients": self.patients}

    @property
    def folder(self) -> str:
        s = self.settings
        return _named(f"{s.network}-{s.loss}-{s.target}-T{s.threshold}", self.inputs)

    def scores(self, lab: Lab, fold: int) -> Scores:
        from ildfv.train.networks import load
        from ildfv.train.trainer import predict

        network, roles = load(lab.network(self, fold), lab.device), lab.roles(fold)
        answers = (
            predict(network, lab.slices, indices, device=lab.device, progress=lab.progress)
            for indices in (roles.validation, roles.test)
        )
        return Scores(*answers)


@dataclass(frozen=True)
class Encoded:
    """Linear regression on an encoding of a network's layer.

    encoder: a name in `encoders.ENCODERS`. descriptors: share of each map's descriptors that is used. settings: layer,
    components, PCA. patients: as of the network.
    """

    label: str
    network: Cnn
    settings: EncodeSettings
    encoder: str = "fisher"
    words: int = 512
    descriptors: float = 1.0
    target: str = "counts"
    folds: int | None = None

    @property
    def threshold(self) -> int:
        return self.network.threshold

    @property
    def inputs(self) -> dict:
        given = {"encoder": self.encoder, "words": self.words, "descriptors": self.descriptors, "target": self.target}
        return {**self.network.inputs, "encode": asdict(self.settings), **given, "threshold": self.threshold}

    @property
    def folder(self) -> str:
        return _named(f"{self.encoder}-{self.settings.layer}", self.inputs)

    def scores(self, lab: Lab, fold: int) -> Scores:
        from ildfv.experiments.encode import encode

        roles = lab.roles(fold, self.network.patients)
        encoding = encode(lab, self, fold)
        found = fit_regression(
            encoding, lab.slices, roles, target=self.target, threshold=self.threshold, progress=lab.progress
        )
        chosen = {"target": self.target, "ridge": found.ridge}
        save_model(encoding.folder / "regression", found.model.to_tensors(), {**found.model.info(), **chosen})
        return Scores(found.validation, found.test)


@dataclass(frozen=True)
class Patches:
    """The patch baseline: a slice's score is the pixels that the label map of a sliding window gives each pattern.

    The label maps of test slices lie in label-maps/, see `maps`.
    """

    label: str
    settings: TrainSettings  # network "patch"
    threshold: int
    per_slice: int = 16
    lungs: str = "rule"  # or "lungmask"
    folds: int | None = None

    @property
    def inputs(self) -> dict:
        return {"network": asdict(self.settings), "per_slice": self.per_slice, "lungs": self.lungs}

    @property
    def folder(self) -> str:
        return _named("patches", self.inputs)

    def scores(self, lab: Lab, fold: int) -> Scores:
        from ildfv.experiments.maps import called, held_out
        from ildfv.train.patches import pattern_counts

        roles = lab.roles(fold)
        with lab.progress.task("Sliding the window", total=len(roles.validation)) as advance:
            validation = []
            for labels in called(lab, self, fold, roles.validation):
                validation.append(pattern_counts(labels))
                advance()
        test = np.empty((len(roles.test), len(PATTERNS)))
        for rows, maps in held_out(lab, self, fold):
            test[rows] = [pattern_counts(labels) for labels in maps]
        return Scores(np.array(validation), test)


def _named(words: str, inputs: dict) -> str:
    return f"{re.sub('[^A-Za-z0-9-]+', '-', words)}-{key_of(inputs)[:8]}"
