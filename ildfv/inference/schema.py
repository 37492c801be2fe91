"""The schema of predictor.json: everything about a predictor except its tensors.

Version 1. Unknown fields and versions are refused.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

KIND: Final = "ildfv predictor"
VERSION: Final = 1
USE: Final = "Research use only: not a medical device, not for diagnosis or treatment."


class Part(BaseModel):
    """A part of the document."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Sigmoid(Part):
    """probability = 1/(1 + exp(−(slope·score + intercept)))."""

    slope: float
    intercept: float


class PatternPerformance(Part):
    """Performance on the held-out patients, with 95 % intervals by patient; None where undefined."""

    auc: float | None
    auc_interval: tuple[float, float] | None
    f: float | None
    f_interval: tuple[float, float] | None
    positives: int


class Performance(Part):
    """Where the performance was measured, and the values per pattern."""

    data: Literal["phantom", "user"]
    fold: int
    slices: int
    patients: int
    patterns: dict[str, PatternPerformance]


class Head(Part):
    """One system: a network's own outputs (kind "cnn"), or a regression on Fisher vectors of a layer (kind "fisher").

    Scores of target "counts" estimate pixels in units of `threshold`. thresholds, sigmoids: per pattern, None where the
    validation slices did not determine them. estimators: descriptions from which mixture, PCA and regression are
    restored.
    """

    name: str
    kind: Literal["cnn", "fisher"]
    target: str
    threshold: int
    thresholds: list[float | None]
    sigmoids: list[Sigmoid | None]
    performance: Performance
    layer: str | None = None
    region: str = "slice"
    lungs: str = "rule"
    improved: bool = True
    estimators: dict[str, dict[str, Any]] = {}


class Reference(Part):
    """Statistics of the training slices that a new scan is compared with.

    log_likelihood: 101 quantiles over slices of the mean log likelihood per descriptor, by head. pixel_side, spacing:
    smallest and largest, mm.
    """

    log_likelihood: dict[str, list[float]]
    pixel_side: tuple[float, float]
    spacing: tuple[float, float] | None


class PredictorInfo(Part):
    """predictor.json."""

    kind: Literal["ildfv predictor"]
    version: Literal[1]
    use: str
    patterns: list[str]
    windows: list[tuple[float, float]]
    size: int
    network: str
    n_outputs: int
    network_layer: str | None  # the layer at which the stored network ends; None: the whole network
    heads: list[Head]
    reference: Reference
    training: dict[str, Any]
    versions: dict[str, str]
    tensors_sha256: str
