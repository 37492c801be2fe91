"""The systems that experiments compare, as frozen recipes.

A recipe holds exactly the values that determine a system's scores, apart from slices and folds; it neither trains nor
writes anything. Experiments with equal recipes share one system, which is trained and encoded once.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, replace
from typing import ClassVar, Protocol, Self

from ildfv.evaluation.baselines import PREFIX
from ildfv.pipeline.encode import EncodeSettings
from ildfv.store.atomic import key_of
from ildfv.train.settings import TrainSettings


class System(Protocol):
    """A system that can be compared with others."""

    @property
    def label(self) -> str:
        """Its name in tables."""

    @property
    def threshold(self) -> int:
        """The T that defines presence when the system is evaluated."""

    @property
    def folds(self) -> int | None:
        """The maximum number of folds that it is run on; None: the number in the preset."""

    @property
    def keep_weights(self) -> bool:
        """Whether its network is needed after the scores are computed."""

    @property
    def inputs(self) -> dict:
        """Everything that the scores depend on apart from slices and folds, as JSON values."""

    @property
    def folder(self) -> str:
        """Name of its folders: words, and a hash of the inputs."""

    def reseeded(self, number: int) -> Self:
        """The same system with all its seeds increased by `number`."""


@dataclass(frozen=True)
class Cnn:
    """A network's own scores.

    threshold: T of the evaluation. patients: number of fit patients that it is trained on; None: all. share: of all
    patients, the set that it is trained and tested on. keep_weights: the weights are needed after the scores are
    computed, for an encoding.
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
        """Without the T of the evaluation: a network that regresses counts can be evaluated at any."""
        return {"network": asdict(self.settings), "patients": self.patients, "share": self.share}

    @property
    def folder(self) -> str:
        s = self.settings
        return _named(f"{s.network}-{s.loss}-{s.target}-T{s.threshold}", self.inputs)

    def reseeded(self, number: int) -> Self:
        return replace(self, settings=replace(self.settings, seed=self.settings.seed + number))


@dataclass(frozen=True)
class Encoded:
    """Linear regression on an encoding of a network's layer.

    encoder: a name in `pipeline.encoders.ENCODERS`. words: number of visual words of that encoder. descriptors: share
    of each map's descriptors that is used. settings: layer, components, PCA. ridge: penalty of the regression, "auto"
    to choose it on validation patients. evaluated_at: T of the evaluation; None: the network's, for which the
    regression is fitted. Patients are those of the network.
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
    keep_weights: ClassVar[bool] = True  # an encoding has no separate weights

    @property
    def threshold(self) -> int:
        return self.evaluated_at or self.network.threshold

    @property
    def inputs(self) -> dict:
        """Without the T of the evaluation; the ridge penalty is chosen with the T of the network."""
        given = {"encoder": self.encoder, "words": self.words, "descriptors": self.descriptors, "target": self.target}
        return {
            **self.network.inputs,
            "encode": self.settings.recorded(),
            **given,
            "ridge": self.ridge,
            "threshold": self.network.threshold,
            "fitted_on": "fit patients",  # earlier versions also used validation patients: not to be reused
        }

    @property
    def folder(self) -> str:
        return _named(f"{self.encoder}-{self.settings.layer}", self.inputs)

    def reseeded(self, number: int) -> Self:
        """Also the network, the encoder and the choice of descriptors, all of which depend on these seeds."""
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
        return {"network": asdict(self.settings), "per_slice": self.per_slice, "lungs": self.lungs}

    @property
    def folder(self) -> str:
        return _named("patches", self.inputs)

    def reseeded(self, number: int) -> Self:
        return replace(self, settings=replace(self.settings, seed=self.settings.seed + number))


@dataclass(frozen=True)
class Baseline:
    """One of the densitometry baselines in `pipeline.baselines`, fitted on the fit patients. threshold: T."""

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
        """Unchanged: the seed only determines the splits on which the penalty is chosen."""
        return self


def patients_of(system: System) -> tuple[int | None, float]:
    """The number of fit patients of a system (None: all), and its share of all patients."""
    network = system.network if isinstance(system, Encoded) else system
    return (network.patients, network.share) if isinstance(network, Cnn) else (None, 1.0)


def _named(words: str, inputs: dict) -> str:
    return f"{re.sub('[^A-Za-z0-9-]+', '-', words)}-{key_of(inputs)[:8]}"
