"""The systems that experiments compare, as frozen recipes.

A recipe holds exactly the values that determine a system's scores, apart from slices and folds; it neither trains nor
writes anything. Experiments with equal recipes share one system, which is trained and encoded once.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, replace
from typing import ClassVar, Protocol, Self

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
        """The largest number of folds that it is run on; None: as many as the preset says."""

    @property
    def keep_weights(self) -> bool:
        """Whether its network is needed after the scores are computed."""

    @property
    def inputs(self) -> dict:
        """Everything that the scores depend on besides slices and folds, JSON-able."""

    @property
    def folder(self) -> str:
        """Name of its folders: words, and a hash of the inputs."""

    def reseeded(self, number: int) -> Self:
        """The same system with all its seeds increased by `number`."""


@dataclass(frozen=True)
class Cnn:
    """A network's own scores.

    patients: share of the fit patients that it is trained on. keep_weights: the weights are needed after the scores
    are computed, for an encoding.
    """

    label: str
    settings: TrainSettings
    threshold: int
    patients: float = 1.0
    keep_weights: bool = field(default=False, compare=False)
    folds: int | None = None

    @property
    def inputs(self) -> dict:
        """Without the T of the evaluation: a network that regresses counts can be evaluated at any."""
        return {"network": asdict(self.settings), "patients": self.patients}

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
    of each map's descriptors that is used. settings: layer, components, PCA. patients: as of the network.
    """

    label: str
    network: Cnn
    settings: EncodeSettings
    encoder: str = "fisher"
    words: int = 512
    descriptors: float = 1.0
    target: str = "counts"
    folds: int | None = None
    keep_weights: ClassVar[bool] = True  # it has no weights of its own

    @property
    def threshold(self) -> int:
        return self.network.threshold

    @property
    def inputs(self) -> dict:
        given = {"encoder": self.encoder, "words": self.words, "descriptors": self.descriptors, "target": self.target}
        return {
            **self.network.inputs,
            "encode": self.settings.recorded(),
            **given,
            "threshold": self.threshold,
            "fitted_on": "fit patients",  # earlier versions added the validation patients: not to be reused
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


def _named(words: str, inputs: dict) -> str:
    return f"{re.sub('[^A-Za-z0-9-]+', '-', words)}-{key_of(inputs)[:8]}"
