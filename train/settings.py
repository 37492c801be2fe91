"""Training settings, and their comparison with those of an existing training run."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ildfv.errors import InputError, check
from ildfv.patterns import THRESHOLD, Threshold, parse_threshold
from ildfv.store.atomic import key_of, sha256
from ildfv.train import defaults, losses
from ildfv.train.targets import TARGETS, check_threshold

# Options that earlier versions did not have, with the values that these versions used.
LATER: dict[str, Any] = {"patience": None, "layer_decay": 1.0}


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a training run, saved with the network.

    The defaults gave the best results for training from scratch on 500 phantom slices in six epochs. To fine-tune
    existing weights, set `weights`; with optimizer="sgd", start with a learning rate of 1e-3.
    """

    network: str = defaults.NETWORK  # a name for `networks.build`
    loss: str = defaults.LOSS  # one of `losses.NAMES`
    target: str = defaults.TARGET  # one of `targets.TARGETS`; presence for logistic losses, the others for regression
    threshold: Threshold = THRESHOLD  # pixels on the original grid, or percent of the lung pixels
    ramp: tuple[float, float] | None = None  # T1, T2 of the ramp target
    unit: float | None = None  # pixels per unit of the counts target, the knee of smooth L1; None: T; in the paper: 1
    epochs: int = defaults.EPOCHS
    batch_size: int = defaults.BATCH_SIZE
    optimizer: str = defaults.OPTIMIZER  # or "sgd"
    learning_rate: float = defaults.LEARNING_RATE  # peak: linear warm-up, then half a cosine down to 0
    warm_up: float = 0.1  # share of all steps; see `optimizer.rate` for the minimum
    momentum: float = 0.9  # for SGD only
    weight_decay: float = 5e-4
    dropout: float = 0.5  # after fc6 and fc7
    augment: bool = defaults.AUGMENT  # left–right flips, shifts up to 8 pixels
    shards: int = defaults.SHARDS  # shards per step, computed one by one: the same result on any number of ranks
    select: str = "last"  # or "best": the epoch with the highest mean validation AUC
    patience: int | None = None  # stop after this number of epochs without improvement, and select the best epoch
    weights: str | None = None  # a local safetensors file with initial weights
    layer_decay: float = 1.0  # with `weights`: factor of the learning rate from each layer to the layer below it
    bfloat16: bool = defaults.BFLOAT16  # products in bfloat16; weights, sums and the optimizer stay in float32
    seed: int = 0

    def __post_init__(self):
        if self.ramp is not None:
            object.__setattr__(self, "ramp", tuple(self.ramp))
        if isinstance(self.threshold, str):
            object.__setattr__(self, "threshold", parse_threshold(self.threshold))
        choices = {
            "loss": losses.NAMES,
            "target": TARGETS,
            "optimizer": ("adamw", "sgd"),
            "select": ("last", "best"),
        }
        for name, known in choices.items():
            value = getattr(self, name)
            check(value in known, f'{name} must be one of {", ".join(known)}, got "{value}"')
        check(
            ("logistic" in self.loss) == (self.target == "presence"),
            "target must be presence for a logistic loss, and counts, step or ramp for a regression, "
            f'got "{self.target}" for "{self.loss}"',
        )
        check_threshold(self.target, self.threshold)
        for name in ("epochs", "batch_size", "learning_rate"):
            check(getattr(self, name) > 0, f"{name} must be positive, got {getattr(self, name)}")
        if self.unit is not None:
            check(self.target == "counts", f'unit must be omitted unless target is counts, got "{self.target}"')
            check(0 < self.unit < math.inf, f"unit must be a positive number of pixels, got {self.unit}")
        if self.ramp is not None:
            check(self.target == "ramp", f'ramp must be omitted unless target is ramp, got "{self.target}"')
            check(len(self.ramp) == 2, f"ramp must be (T1, T2), got {self.ramp}")
            low, high = self.ramp
            check(0 <= low < high < math.inf, f"ramp must be (T1, T2) with 0 ≤ T1 < T2, got ({low:g}, {high:g})")
        if self.patience is not None:
            check(self.patience >= 1, f"patience must be at least 1 epoch, got {self.patience}")
            object.__setattr__(self, "select", "best")
        check(0 < self.layer_decay <= 1, f"layer_decay must be above 0 and at most 1, got {self.layer_decay}")
        check(
            self.layer_decay == 1 or self.weights is not None,
            f"layer_decay must be 1 for random initial weights, got {self.layer_decay:g}: give --weights",
        )
        check(self.shards >= 1, f"shards must be at least 1, got {self.shards}")
        for name in ("warm_up", "momentum", "dropout"):
            check(0 <= getattr(self, name) < 1, f"{name} must be in [0, 1), got {getattr(self, name)}")

    @property
    def balanced(self) -> bool:
        return self.loss.startswith(losses.BALANCED)

    def recorded(self) -> dict:
        """The settings as they are stored. Later options are absent unless given, so that older models stay current."""
        values = asdict(self)
        return {name: value for name, value in values.items() if name not in LATER or value != LATER[name]}


def identity(settings: TrainSettings, slices, fit: np.ndarray, validation: np.ndarray) -> dict:
    """The identity of a training run: settings, slices and split, JSON-serialisable. Weight files are hashed."""
    if settings.weights:
        check(Path(settings.weights).is_file(), f"weights must be a safetensors file, got {settings.weights}")
    values = settings.recorded() | {
        "ramp": list(settings.ramp) if settings.ramp else None,
        "weights": sha256(Path(settings.weights)) if settings.weights else None,
    }
    keys = {"slices": slices.key, "fit": key_of(fit.tolist()), "validation": key_of(validation.tolist())}
    return {"settings": values, **keys}


def check_same(requested: dict, found: dict | None, folder: Path) -> None:
    """Raises an InputError that names the first difference between two identities, if there is one.

    found: None if the network has no identity.
    """
    remedy = "replace it with `ildfv train --fresh`, or keep both with `ildfv train --name NAME`"
    if found is None:
        raise InputError(f"{folder} contains a network without training settings: {remedy}")
    for name in LATER | requested["settings"]:
        value, old = (one["settings"].get(name, LATER.get(name)) for one in (requested, found))
        check(old == value, f"{folder} contains a training run with {name} = {old}, got {value}: {remedy}")
    for name in ("slices", "fit", "validation"):
        what = "slices" if name == "slices" else f"{name} slices"
        check(requested[name] == found[name], f"{folder} contains a training run on other {what}: {remedy}")
