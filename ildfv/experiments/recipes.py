"""The systems that experiments compare, as frozen recipes.

A recipe contains exactly the values that determine a system's scores, except slices and folds. It does not train or
write anything. Experiments with equal recipes share one system, which is fitted only once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol, Self

from ildfv.evaluation.baselines import PREFIX
from ildfv.pipeline.encode import EncodeSettings
from ildfv.store.atomic import key_of
from ildfv.train.settings import TrainSettings


class System(Protocol):
    """A system that can be compared with others."""

    @property
    def label(self) -> str:
        """The name of the system in tables."""

    @property
    def threshold(self) -> int:
        """The value of T that defines presence when the system is evaluated."""

    @property
    def folds(self) -> int | None:
        """The maximum number of folds that are held out for this system; None: the number in the preset."""

    @property
    def keep_weights(self) -> bool:
        """Whether to keep the weights of the network after the scores are computed."""

    @property
    def inputs(self) -> dict:
        """Everything that the scores depend on, except slices and folds, as JSON values."""

    @property
    def folder(self) -> str:
        """The name of the system's folders: words, followed by a hash of the inputs."""

    def reseeded(self, number: int) -> Self:
        """The same system with all its seeds increased by `number`."""


@dataclass(frozen=True)
class Cnn:
    """The scores of a network.

    threshold: T of the evaluation. patients: number of fit patients on which the network is trained; None: all. share:
    fraction of all patients on which it is trained and tested. keep_weights: whether the weights are kept after the
    scores are computed, because an encoding needs them.
    """

    label: str
    settings: TrainSettings
    threshold: int
    patients: int | None = None
    share: float = 1.0
    keep_weights: bool = field(default=False, compare=False)
    folds: int | None = None

    @property
    def inputs(self) -> dict:
        """The settings of the network, and the patients.

        The T of the evaluation is not included, because a network that regresses counts can be evaluated at any T.
        """
        return {"network": self.settings.recorded(), "patients": self.patients, "share": self.share}

    @property
    def folder(self) -> str:
        s = self.settings
        return _named(f"{s.network}-{s.loss}-{s.target}-T{s.threshold}", self.inputs)

    def reseeded(self, number: int) -> Self:
        return replace(self, settings=replace(self.settings, seed=self.settings.seed + number))


@dataclass(frozen=True)
class Encoded:
    """Linear regression on an encoding of a network's layer.

    The patients are those of the network. settings: layer, components and PCA. encoder: a name in
    `pipeline.encoders.ENCODERS`. words: number of visual words, for the encoder "words". descriptors: fraction of each
    map's descriptors that is used. ridge: penalty of the regression, or "auto" to choose it on validation patients.
    evaluated_at: T of the evaluation; None: T of the network, for which the regression is fitted.
    """

    label: str
    network: Cnn
    settings: EncodeSettings
    encoder: str = "fisher"
    words: int = 512
    descriptors: float = 1.0
    target: str = "counts"
    ridge: str = "auto"
    evaluated_at: int | None = None
    folds: int | None = None
    keep_weights: ClassVar[bool] = True  # an encoding has no network to remove

    @property
    def threshold(self) -> int:
        return self.evaluated_at or self.network.threshold

    @property
    def inputs(self) -> dict:
        """The settings of the network, the encoder and the regression, and the patients.

        The T of the evaluation is not included, because the ridge penalty is chosen with the T of the network.
        """
        given = {"encoder": self.encoder, "words": self.words, "descriptors": self.descriptors, "target": self.target}
        return {
            **self.network.inputs,
            "encode": self.settings.recorded(),
            **given,
            "ridge": self.ridge,
            "threshold": self.network.threshold,
            "fitted_on": "fit patients",  # earlier versions also fitted on validation patients; their key must differ
        }

    @property
    def folder(self) -> str:
        return _named(f"{self.encoder}-{self.settings.layer}", self.inputs)

    def reseeded(self, number: int) -> Self:
        """The system with other seeds of the network, the encoder and the random choice of descriptors."""
        settings = replace(self.settings, seed=(self.settings.seed or 0) + number)
        return replace(self, network=self.network.reseeded(number), settings=settings)


@dataclass(frozen=True)
class Patches:
    """The patch baseline: a slice's score is the number of pixels that a sliding window assigns to each pattern."""

    label: str
    settings: TrainSettings  # network "patch"
    threshold: int
    per_slice: int = 16
    lungs: str = "rule"  # or "lungmask"
    folds: int | None = None
    keep_weights: ClassVar[bool] = True  # the network is small, and label maps and times need it

    @property
    def inputs(self) -> dict:
        return {"network": self.settings.recorded(), "per_slice": self.per_slice, "lungs": self.lungs}

    @property
    def folder(self) -> str:
        return _named("patches", self.inputs)

    def reseeded(self, number: int) -> Self:
        return replace(self, settings=replace(self.settings, seed=self.settings.seed + number))


@dataclass(frozen=True)
class Baseline:
    """One of the baselines of `pipeline.baselines`, fitted on the fit patients. threshold: T of fit and evaluation."""

    name: str
    threshold: int
    seed: int
    folds: int | None = None
    keep_weights: ClassVar[bool] = True  # a baseline has no network

    @property
    def label(self) -> str:
        return PREFIX + self.name

    @property
    def inputs(self) -> dict:
        return {"baseline": self.name, "threshold": self.threshold, "seed": self.seed}

    @property
    def folder(self) -> str:
        return _named(self.label, self.inputs)

    def reseeded(self, number: int) -> Self:
        """The same baseline, because the seed only determines the splits on which the penalty is chosen."""
        return self


def patients_of(system: System) -> tuple[int | None, float]:
    """(number of fit patients of a system, None for all; the fraction of all patients that it uses)."""
    network = system.network if isinstance(system, Encoded) else system
    return (network.patients, network.share) if isinstance(network, Cnn) else (None, 1.0)


def _named(words: str, inputs: dict) -> str:
    return f"{re.sub('[^A-Za-z0-9-]+', '-', words)}-{key_of(inputs)[:8]}"
