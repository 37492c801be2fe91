"""The extent of the experiments: preset small checks on a CPU that everything runs, preset paper is for a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from ildfv.errors import InputError

# Fields used to create phantoms and a split; existing ones are described by the workspace.
TO_MAKE = ("patients", "slices_per_scan", "folds")


@dataclass(frozen=True)
class Preset:
    """The extent of all experiments; it does not depend on the data."""

    name: str
    patients: int  # phantoms, if there is no workspace
    slices_per_scan: int
    folds: int  # if the workspace has none yet
    run: int | None  # folds that are held out in turn; None: all
    train: Mapping  # fields of TrainSettings
    network: str = "cnnf"
    networks: Mapping[str, Mapping] = field(
        default_factory=dict
    )  # networks to compare with it → fields of TrainSettings
    network_folds: int | None = None  # folds of that comparison
    layers: tuple[str, ...] = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6")
    layer: str = "conv5"  # for other encoders and for the small set
    dense_layer: str = "conv1"  # for the shares of descriptors: the layer with the most descriptors
    components: int = 32
    words: int = 512  # of the bag of visual words
    passes: int = 10
    dimensions: int = 512
    patches_per_slice: int = 32
    patch_epochs: int = 20
    lungs: str = "rule"  # lung mask of the patch baseline: "rule" or "lungmask"
    timed_slices: int = 50
    resamples: int = 2000
    seeds: int = 1  # of the comparisons: every compared system is fitted with so many
    keep_networks: bool = True  # also networks of which only the scores are needed (230 MB each)

    @property
    def extent(self) -> dict:
        """All fields that results depend on, JSON-able: without the name and the fields in TO_MAKE."""
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

# The paper does not state its number of epochs: 30 is our choice.
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
    """The preset of that name; InputError lists the names."""
    if name not in PRESETS:
        raise InputError(f'preset must be one of {", ".join(PRESETS)}, got "{name}"')
    return PRESETS[name]
