"""Presets, which define the extent of the experiments.

Preset `small` is a quick check on a CPU, `medium` has enough patients for the experiment `growth` on a CPU, and `paper`
needs a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from ildfv.errors import InputError

# Fields that are only used to create phantoms and folds, and ignored if the workspace already has them.
TO_MAKE = ("patients", "slices_per_scan", "difficulty", "folds")


@dataclass(frozen=True)
class Preset:
    """The extent of all experiments, which does not depend on the data."""

    name: str
    patients: int  # number of phantoms, if there is no workspace
    slices_per_scan: int
    folds: int  # number of folds to create, if the workspace has none
    run: int | None  # number of folds that are held out, one at a time; None: all
    train: Mapping  # fields of TrainSettings
    difficulty: str = "hard"  # difficulty of the phantoms: "hard" or "easy"
    network: str = "cnnf"
    # Networks that are compared with `network`: by name, fields of TrainSettings.
    networks: Mapping[str, Mapping] = field(default_factory=dict)
    network_folds: int | None = None  # number of folds that are held out in this comparison
    target_thresholds: tuple[int, ...] = (6000, 4000)  # values of T at which the targets of Fig. 3 are compared
    layers: tuple[str, ...] = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6")
    layer: str = "conv5"  # layer for other encoders, the sweep and the curves
    dense_layer: str = "conv1"  # layer with the most descriptors, for the fractions of descriptors
    components: int = 32
    sweep_components: tuple[int, ...] = (8, 16, 32, 64, 128, 256)
    words: int = 512  # number of visual words of the bag of visual words
    passes: int = 10  # passes of EM
    dimensions: int = 512
    sweep_dimensions: tuple[int, ...] = (64, 128, 256, 512, 1024)
    ridge: str = "auto"  # penalty of the linear regression: a number, or "auto" to choose it on validation patients
    small_share: float = 0.075  # fraction of the patients in the small set of Table 7, as 18k of 240k slices
    growth: tuple[int, ...] = (12, 24, 48, 120)  # numbers of fit patients, if they are available
    patches_per_slice: int = 32
    patch_epochs: int = 20
    lungs: str = "rule"  # lung mask of the patch baseline: "rule" or "lungmask"
    timed_slices: int = 50
    resamples: int = 2000
    seeds: int = 1  # number of seeds with which every compared system is fitted
    keep_networks: bool = True  # whether to keep networks (230 MB each) after their scores are computed

    @property
    def extent(self) -> dict:
        """All fields that results depend on, as JSON values: without the name and the fields in TO_MAKE."""
        fields = {name: value for name, value in asdict(self).items() if name not in ("name", *TO_MAKE)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


SMALL = Preset(
    name="small",
    patients=24,
    slices_per_scan=8,
    folds=3,
    run=2,
    train={"epochs": 2},
    networks={"cnnf-multihead": {}},  # VGG-19 takes ten minutes on two cores: `--network vgg19`, or preset paper
    network_folds=1,
    target_thresholds=(4000,),
    components=16,
    sweep_components=(8, 16, 64),
    words=128,
    passes=2,  # stepwise EM gains little after the second pass, see bench/NOTES.md
    dimensions=64,
    sweep_dimensions=(16, 32, 64),
    small_share=0.5,
    growth=(4, 8),  # the third size is all 13 fit patients
    patches_per_slice=24,
    patch_epochs=12,
    timed_slices=10,
    resamples=1000,
    keep_networks=False,
)

# For `growth` on a CPU: 200 patients in five folds have about 128 fit patients, more than the largest number in
# `growth`. One fold is held out.
MEDIUM = Preset(
    name="medium",
    patients=200,
    slices_per_scan=8,
    folds=5,
    run=1,
    train={"epochs": 6},
    networks={},
    target_thresholds=(4000,),
    components=32,
    passes=4,
    dimensions=256,
    keep_networks=False,
)

# The paper does not state the number of epochs; 30 is a choice of this package. With 192 patients in five folds, there
# are at least 120 fit patients, the largest number in `growth`.
PAPER = Preset(
    name="paper",
    patients=192,
    slices_per_scan=24,
    folds=5,
    run=None,
    train={"epochs": 30},
    networks={"cnnf-multihead": {}, "vgg19": {"learning_rate": 1e-4}},
)

PRESETS = {preset.name: preset for preset in (SMALL, MEDIUM, PAPER)}


def preset_named(name: str) -> Preset:
    """The preset of that name; InputError if there is none."""
    if name not in PRESETS:
        raise InputError(f'preset must be one of {", ".join(PRESETS)}, got "{name}"')
    return PRESETS[name]
