"""The schema of predictor.json: everything about a predictor except its tensors.

Unknown fields and versions are refused.

Version 1 had one encoding per predictor, inside its head; version 2 has named networks and encodings that several heads
share, heads on several encodings, and the fields of `Head` after `performance`. Fields with a default were added to
version 2 later: predictors without them can be loaded, and answers state which part is missing.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

KIND: Final = "ildfv predictor"
VERSION: Final = 2
USE: Final = "Research use only: not a medical device, not for diagnosis or treatment."
CNN: Final = "cnn"  # kinds of heads
FISHER: Final = "fisher"


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


class Baseline(Part):
    """The baseline with the highest AUC on the same slices; AUC of the head minus that of the baseline, by patient.

    The difference is paired by patient. measure: a pattern, or "mean_auc". beats: whether the 95 % interval of the
    difference is above 0.
    """

    measure: str
    baseline: str
    difference: float | None
    interval: tuple[float, float] | None
    beats: bool


class Performance(Part):
    """Where the performance was measured, and the values per pattern.

    fold: None if several folds are pooled. baselines: empty if none were scored.
    """

    data: Literal["phantom", "user"]
    fold: int | None
    folds: list[int]
    slices: int
    patients: int
    patterns: dict[str, PatternPerformance]
    baselines: list[Baseline] = []


class Network(Part):
    """A network by architecture; tensors `network.<name>.*`.

    layer: the layer at which the stored network ends; None: the whole network. weights_sha256: checksum of the file of
    its weights if the predictor does not contain them, only `mean` and `std`. trained: False for frozen networks.
    """

    architecture: str
    n_outputs: int
    layer: str | None
    trained: bool = True
    weights_sha256: str | None = None


class Encoding(Part):
    """Fisher vectors of a layer and their PCA; tensors `encoding.<name>.mixture.*`, `.pca.*` and `.descriptors.*`.

    network: name of the network; None for layers without one ("filters", "patches"). layer: that of the network.
    estimators: descriptions from which mixture and PCA are restored. floor: of contribution maps
    (`inference.contributions`), 0 for none.
    """

    layer: str
    network: str | None
    region: str = "slice"
    lungs: str = "rule"
    improved: bool = True
    estimators: dict[str, dict[str, Any]]
    floor: float = 0.0


class HeadPart(Part):
    """The projections of an encoding, divided by `scale`, as features of a head."""

    encoding: str
    scale: float | None = None


class Curve(Part):
    """Expected pixels (512×512 grid) as a function of the score, linear between the knots and constant beyond them."""

    scores: list[float]
    pixels: list[float]


class ScanError(Part):
    """Root mean square, over held-out scans, of the error of the mean estimated pixels of a slice (512×512 grid)."""

    pixels: float
    scans: int


class ConformalSets(Part):
    """Limits of the conformal sets of a head, per pattern (`inference.conformal.Conformal`).

    "present" is in the set of a score ≥ present_from, "absent" in that of a score ≤ absent_to; None: of every score.
    present_patients, absent_patients: calibration patients with slices of that label. cross_validated: the scores come
    from models of several folds, and not from the exported head.
    """

    level: float
    present_from: list[float | None]
    absent_to: list[float | None]
    present_patients: list[int]
    absent_patients: list[int]
    cross_validated: bool = False


class Head(Part):
    """One system: a network's own outputs (kind "cnn"), or linear scores of Fisher vectors (kind "fisher").

    Scores of target "counts" estimate pixels in units of `threshold`; for other targets `counts` gives them per
    pattern. thresholds, sigmoids: per pattern, None where the held-out slices did not determine them. scan_sigmoids:
    the same for the highest score of a scan. parts, inputs: the features of a Fisher head, in the order of the columns
    of the tensor `head.<name>.coef`; fill: values of inputs that are undefined, such as a density without lung.
    regression: "linear", "ridge" or "logistic". conformal: None for the reason in `no_conformal`.
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
    regression: str = "linear"
    network: str | None = None
    parts: list[HeadPart] = []
    inputs: list[str] = []
    fill: list[float] = []
    scan_sigmoids: list[Sigmoid | None] = []
    counts: list[Curve | None] = []
    scan_errors: list[ScanError | None] = []
    conformal: ConformalSets | None = None
    no_conformal: str = "it was exported without them, export it again"


class Reference(Part):
    """Statistics of the training slices that a new scan is compared with.

    log_likelihood: 101 quantiles over slices of the mean log likelihood per descriptor, by encoding. pixel_side,
    spacing: smallest and largest, mm. scan_log_likelihood: 1st and 99th percentile, over training scans, of the median
    over a scan's slices, by encoding. lung_area: smallest and largest, over training scans, cm² of lung on the slice
    with most of it.
    """

    log_likelihood: dict[str, list[float]]
    pixel_side: tuple[float, float]
    spacing: tuple[float, float] | None
    scan_log_likelihood: dict[str, tuple[float, float]] = {}
    lung_area: tuple[float, float] | None = None


class PredictorInfo(Part):
    """predictor.json. primary: the head that is shown first."""

    kind: Literal["ildfv predictor"]
    version: Literal[2]
    use: str
    patterns: list[str]
    windows: list[tuple[float, float]]
    size: int
    networks: dict[str, Network]
    encodings: dict[str, Encoding]
    heads: list[Head]
    primary: str
    reference: Reference
    training: dict[str, Any]
    versions: dict[str, str]
    tensors_sha256: str
