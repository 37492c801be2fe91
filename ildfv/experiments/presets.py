"""How much is run: small proves that everything runs, paper is for a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from ildfv.errors import InputError

# What a preset says of phantoms and of a split that are still to be made: of those there are, the workspace knows.
TO_MAKE = ("patients", "slices_per_scan", "folds")


@dataclass(frozen=True)
class Preset:
    """The extent of all experiments. None of it depends on the data."""

    name: str
    patients: int  # phantoms, where no workspace is there
    slices_per_scan: int
    folds: int  # where the workspace has none yet
    run: int | None  # folds that are held out in turn; None: all
    train: Mapping  # fields of TrainSettings
    network: str = "cnnf"
    networks: Mapping[str, Mapping] = field(default_factory=dict)  # compared with it → fields of TrainSettings
    network_folds: int | None = None  # folds of that comparison
    layers: tuple[str, ...] = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6")
    layer: str = "conv5"  # of the other encoders, and of the small set
    dense_layer: str = "conv1"  # of the shares of descriptors: the one with most of them
    components: int = 32
    words: int = 512  # of the bag of visual words
    passes: int = 10
    dimensions: int = 512
    patches_per_slice: int = 32
    patch_epochs: int = 20
    lungs: str = "rule"  # where the window of the patch baseline slides: "rule" or "lungmask"
    timed_slices: int = 50
    resamples: int = 2000
    keep_networks: bool = True  # the weights of networks that nothing but their scores is asked of (230 MB each)

    @property
    def extent(self) -> dict:
        """All that results are found with, JSON-able: neither the name nor what is to be made where nothing is."""
        fields = {name: value for name, value in asdict(self).items() if name not in ("name", *TO_MAKE)}
        return fields | {"layers": list(self.layers)}


SMALL = Preset(
    name="small",
    patients=24,
    slices_per_scan=10,
    folds=3,
    run=2,
    train={"epochs": 3},
    networks={"cnnf-multihead": {}, "vgg19": {"epochs": 1, "learning_rate": 1e-4, "batch_size": 8}},
    network_folds=1,
    components=16,
    words=128,
    passes=4,
    dimensions=64,
    patches_per_slice=24,
    patch_epochs=12,
    timed_slices=10,
    resamples=1000,
    keep_networks=False,
)

# The number of the paper's epochs is not at hand: 30 is ours.
PAPER = Preset(
    name="paper",
    patients=60,
    slices_per_scan=24,
    folds=5,
    run=None,
    train={"epochs": 30},
    networks={"cnnf-multihead": {}, "vgg19": {"learning_rate": 1e-4}},
)

PRESETS = {preset.name: preset for preset in (SMALL, PAPER)}


def preset_named(name: str) -> Preset:
    """The preset; InputError names those there are."""
    if name not in PRESETS:
        raise InputError(f'preset must be one of {", ".join(PRESETS)}, got "{name}"')
    return PRESETS[name]
