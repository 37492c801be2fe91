"""Training settings, and their comparison with those of an existing training run."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ildfv.errors import InputError, check
from ildfv.patterns import THRESHOLD
from ildfv.store.atomic import key_of, sha256
from ildfv.train import defaults, losses
from ildfv.train.targets import TARGETS


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a training run, saved with the network.

    The defaults gave the best results for training from scratch on 500 phantom slices in six epochs. To fine-tune
    existing weights, set `weights`; with optimizer="sgd", start with a learning rate of 1e-3.
    """

    network: str = defaults.NETWORK  # a name for `networks.build`
    loss: str = defaults.LOSS  # one of `losses.NAMES`
    target: str = defaults.TARGET  # one of `targets.TARGETS`; presence for logistic losses, the others for regression
    threshold: int = THRESHOLD  # pixels on the original grid
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
    weights: str | None = None  # a local safetensors file with initial weights
    bfloat16: bool = False  # autocast, on CUDA only
    seed: int = 0

    def __post_init__(self):
        if self.ramp is not None:
            object.__setattr__(self, "ramp", tuple(self.ramp))
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
        for name in ("epochs", "batch_size", "threshold", "learning_rate"):
            check(getattr(self, name) > 0, f"{name} must be positive, got {getattr(self, name)}")
        if self.unit is not None:
            check(self.target == "counts", f'unit must be omitted unless target is counts, got "{self.target}"')
            check(0 < self.unit < math.inf, f"unit must be a positive number of pixels, got {self.unit}")
        if self.ramp is not None:
            check(self.target == "ramp", f'ramp must be omitted unless target is ramp, got "{self.target}"')
            check(len(self.ramp) == 2, f"ramp must be (T1, T2), got {self.ramp}")
            low, high = self.ramp
            check(0 <= low < high < math.inf, f"ramp must be (T1, T2) with 0 ≤ T1 < T2, got ({low:g}, {high:g})")
        check(self.shards >= 1, f"shards must be at least 1, got {self.shards}")
        for name in ("warm_up", "momentum", "dropout"):
            check(0 <= getattr(self, name) < 1, f"{name} must be in [0, 1), got {getattr(self, name)}")

    @property
    def balanced(self) -> bool:
        return self.loss.startswith(losses.BALANCED)


def identity(settings: TrainSettings, slices, fit: np.ndarray, validation: np.ndarray) -> dict:
    """The identity of a training run: settings, slices and split, JSON-serialisable. Weight files are hashed."""
    if settings.weights:
        check(Path(settings.weights).is_file(), f"weights must be a safetensors file, got {settings.weights}")
    values = asdict(settings) | {
        "ramp": list(settings.ramp) if settings.ramp else None,
        "weights": sha256(Path(settings.weights)) if settings.weights else None,
    }
    keys = {"slices": slices.key, "fit": key_of(fit.tolist()), "validation": key_of(validation.tolist())}
    return {"settings": values, **keys}


def check_same(requested: dict, found: dict | None, folder: Path) -> None:
    """InputError that names the first difference between two identities. found: None if the network has no identity."""
    remedy = "use --fresh to replace it or --name NAME to keep both"
    if found is None:
        raise InputError(f"{folder} contains a network without training settings: {remedy}")
    for name, value in requested["settings"].items():
        old = found["settings"].get(name)
        check(old == value, f"{folder} contains a training run with {name} = {old}, got {value}: {remedy}")
    for name in ("slices", "fit", "validation"):
        what = "slices" if name == "slices" else f"{name} slices"
        check(requested[name] == found[name], f"{folder} contains a training run on other {what}: {remedy}")
