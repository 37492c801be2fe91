"""The schema of predictor.json, which contains everything about a predictor except its tensors.

Unknown fields and versions are rejected.

Version 1 had one encoding per predictor, as part of its head. In version 2, networks and encodings have names, several
heads can share an encoding, a head can use several encodings, and `Head` has the fields after `performance`. Fields
with a default were added to version 2 later. Predictors without these fields can be loaded, and their predictions state
what is missing.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from ildfv.patterns import Threshold, parse_threshold
from ildfv.scans.grey import Grey
from ildfv.scans.preparation import Preparation

USE: Final = "Research use only: not a medical device, not for diagnosis or treatment."
CNN: Final = "cnn"  # the two kinds of heads
FISHER: Final = "fisher"


class Part(BaseModel):
    """Base class of the parts of predictor.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Sigmoid(Part):
    """The parameters of the probability 1/(1 + exp(−(slope·score + intercept)))."""

    slope: float
    intercept: float


class PatternPerformance(Part):
    """Performance for one pattern on held-out patients, with 95 % intervals from resampled patients.

    auc: area under the ROC curve. f: F score at the threshold. Undefined values are None. positives: number of slices,
    or of scans, that show the pattern (`Performance.unit`).
    """

    auc: float | None
    auc_interval: tuple[float, float] | None
    f: float | None
    f_interval: tuple[float, float] | None
    positives: int


class Baseline(Part):
    """The comparison of a head with the baseline that has the highest AUC on the same slices.

    measure: a pattern, or "mean_auc". difference: AUC of the head minus AUC of the baseline, paired by patient.
    interval: 95 % interval of the difference. beats: whether the whole interval is above 0.
    """

    measure: str
    baseline: str
    difference: float | None
    interval: tuple[float, float] | None
    beats: bool


class Performance(Part):
    """The performance of a head, and the data on which it was measured.

    fold: the held-out fold; None if several folds are pooled. folds: all folds on which it was measured. baselines:
    empty if no baselines were scored. unit: "scan" if scans were labelled and scored as a whole; slices is then the
    number of scans.
    """

    data: Literal["phantom", "user"]
    fold: int | None
    folds: list[int]
    slices: int
    patients: int
    patterns: dict[str, PatternPerformance]
    baselines: list[Baseline] = []
    unit: Literal["slice", "scan"] = "slice"


class Network(Part):
    """A network. Its tensors are `network.<name>.*`.

    layer: the layer at which the stored network ends; None: the whole network is stored. trained: False for frozen
    networks. weights_sha256: checksum of the file with the weights, if the predictor does not contain them; the
    predictor then contains only the tensors `mean` and `std`.
    """

    architecture: str
    n_outputs: int
    layer: str | None
    trained: bool = True
    weights_sha256: str | None = None


class Encoding(Part):
    """Fisher vectors of a layer, and their PCA.

    Its tensors are `encoding.<name>.mixture.*`, `encoding.<name>.pca.*` and `encoding.<name>.descriptors.*`. network:
    name of the network; None for a layer without a network ("filters", "patches"). hounsfield: whether the layer is
    computed from slices in HU (`scans.hounsfield`) instead of the windows. estimators: the descriptions from which the
    mixture and the PCA are restored. floor: floor of the contribution maps (`inference.contributions`); 0 for no floor.
    """

    layer: str
    network: str | None
    region: str = "slice"
    lungs: str = "rule"
    hounsfield: bool = False
    improved: bool = True
    estimators: dict[str, dict[str, Any]]
    floor: float = 0.0


class HeadPart(Part):
    """An encoding whose projections, divided by `scale`, are features of a head."""

    encoding: str
    scale: float | None = None


class Curve(Part):
    """Expected number of pixels (512×512 grid) as a function of the score.

    The function is linear between the given points and constant outside them.
    """

    scores: list[float]
    pixels: list[float]


class ScanError(Part):
    """The error of the estimated number of pixels per slice (512×512 grid), averaged over the slices of a scan.

    pixels: root mean square of this error over held-out scans. scans: number of these scans.
    """

    pixels: float
    scans: int


class ConformalSets(Part):
    """The limits of the conformal sets of a head, per pattern. `inference.conformal.Conformal` describes the fields.

    cross_validated: whether the scores of the calibration patients are from the models of several folds and not from
    the exported head.
    """

    level: float
    present_from: list[float | None]
    absent_to: list[float | None]
    present_patients: list[int]
    absent_patients: list[int]
    cross_validated: bool = False


class Head(Part):
    """One system: the outputs of a network (kind "cnn"), or linear scores of Fisher vectors (kind "fisher").

    threshold: T of presence in pixels, or in percent of the lung pixels, such as "5%". pixel_counts: whether the labels
    are pixel counts, to which T is applied, and not labels of presence. target: with "counts", the
    scores estimate numbers of pixels in units of `threshold`; with other targets, `counts` has a curve from score
    to pixels for each pattern. thresholds, sigmoids: per pattern, None where the held-out slices did not determine
    them. scan_sigmoids: sigmoids for the highest score of a scan; where one is None, no_scan_probability has the
    reason. parts, inputs: the features of a Fisher head, in the order of the columns of the tensor
    `head.<name>.coef`. fill: replacement of each input where it is undefined, such as a density without lung.
    regression: "linear", "ridge" or "logistic". conformal: if None, `no_conformal` has the reason.

    unlabelled: patterns without any label on the training slices; they have no scores.

    bags: the method that pools slice scores into the score of their scan (`estimators.bags`), for a head that was
    fitted to labels of scans; otherwise None. With bags, thresholds and scan_sigmoids apply to the score of the scan,
    and the scores of slices have no sigmoids, because labels of scans do not determine them.
    """

    name: str
    kind: Literal["cnn", "fisher"]
    target: str
    threshold: Threshold
    pixel_counts: bool = True
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
    no_scan_probability: list[str] = []
    counts: list[Curve | None] = []
    scan_errors: list[ScanError | None] = []
    bags: Literal["noisy-or", "max"] | None = None
    conformal: ConformalSets | None = None
    unlabelled: list[str] = []
    no_conformal: str = "the predictor was exported by an earlier version; export it again"

    _threshold = field_validator("threshold", mode="before")(parse_threshold)

    @property
    def estimates_areas(self) -> bool:
        """Whether the areas of all patterns are known: scores estimate pixels, or a curve converts them to pixels."""
        return self.target == "counts" or (bool(self.counts) and None not in self.counts)


class Reference(Part):
    """Statistics of the training slices, with which new scans are compared.

    log_likelihood: by encoding, 101 quantiles over slices of the mean log likelihood per descriptor.
    scan_log_likelihood: by encoding, the 1st and 99th percentile over scans of the median log likelihood of a scan's
    slices. residual, scan_residual: the same for the part of the Fisher vector that the PCA does not represent
    (`FisherEncoding.residuals`), on validation patients, because residuals are smaller on the slices that the PCA was
    fitted on; scan_residual requires five or more validation scans. pixel_side, spacing, thickness: smallest and
    largest value, mm. lung_area: smallest and largest value over scans of the area of lung on the slice with the most
    lung, cm². field: smallest and largest side of the square around a slice, mm. grid: smallest and largest value over
    scans of the larger of the numbers of rows and columns. scan_slices: smallest and largest number of training slices
    of a scan. air: smallest and largest HU of the air around the body.
    kernels, manufacturers: numbers of scans by name. Fields about the technique are None or empty if it is unknown for
    all training scans (`scans.technique`).
    """

    log_likelihood: dict[str, list[float]]
    pixel_side: tuple[float, float]
    spacing: tuple[float, float] | None
    scan_log_likelihood: dict[str, tuple[float, float]] = {}
    lung_area: tuple[float, float] | None = None
    field: tuple[float, float] | None = None
    grid: tuple[int, int] | None = None
    scan_slices: tuple[int, int] | None = None
    thickness: tuple[float, float] | None = None
    air: tuple[float, float] | None = None
    kernels: dict[str, int] = {}
    manufacturers: dict[str, int] = {}
    residual: dict[str, list[float]] = {}
    scan_residual: dict[str, tuple[float, float]] = {}


class Images(Part):
    """The settings for reading training images and new images, which are described in `scans.grey.Grey`."""

    low: float
    high: float
    field: float


class HowPrepared(Part):
    """The options with which training scans were prepared and new scans are prepared (`scans.preparation`).

    images: None if the training slices are scans in HU; otherwise the predictor is for images only.
    """

    normalise: str | None = None
    pixel_size: float | None = None
    noise_level: float | None = None
    lungs: str = "rule"
    images: Images | None = None

    @property
    def grey(self) -> Grey | None:
        """The settings for reading images; None for scans in HU."""
        return None if self.images is None else Grey(**self.images.model_dump())

    @property
    def options(self) -> Preparation:
        """The options as `Preparation`. InputError: an option is invalid."""
        return Preparation(**self.model_dump(exclude={"images"}))


class PredictorInfo(Part):
    """The content of predictor.json. primary: name of the head that is shown first."""

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
    preparation: HowPrepared = HowPrepared()
    reference: Reference
    training: dict[str, Any]
    versions: dict[str, str]
    tensors_sha256: str
