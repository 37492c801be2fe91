"""Options that make scans of different scanners comparable or select their lung, and their application to a scan.

They are settings of a workspace. Its parts and the predictors exported from it record them, and a predictor applies
them to new scans. They are applied in this order: HU are normalised, pixels are resampled, noise is reduced.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace

import numpy as np

from ildfv.errors import check
from ildfv.scans.noise import reduced
from ildfv.scans.normalise import NORMALISE, normalised
from ildfv.scans.pixel_size import Field
from ildfv.scans.prepared_lungs import METHODS, RULE
from ildfv.scans.volume import Volume

PIXEL_SIZES = (0.3, 2.0)  # mm; with a grid of 512 pixels, fields of 154 to 1024 mm
NOISE_LEVELS = (1.0, 200.0)  # HU


@dataclass(frozen=True)
class Preparation:
    """The changes to the HU of a scan before windowing, by default none, and the method that finds its lung.

    Parameters
    ----------
    normalise : {"air", "air,tissue"}, optional
        The measured values by which HU are normalised (`scans.normalise`).
    pixel_size : float, optional
        Pixel size of a common grid of 512×512 pixels, mm (`scans.pixel_size`).
    noise_level : float, optional
        Noise in HU. Scans with more noise are smoothed to this level (`scans.noise`).
    lungs : {"rule", "lungmask"}
        Method that finds the lung: the built-in rule (`scans.lungs`) or lungmask (`scans.prepared_lungs.scan_lungs`).

    Raises
    ------
    InputError
        A value is outside its range.
    """

    normalise: str | None = None
    pixel_size: float | None = None
    noise_level: float | None = None
    lungs: str = RULE

    def __post_init__(self) -> None:
        check(
            self.normalise is None or self.normalise in NORMALISE,
            f'normalise must be {" or ".join(NORMALISE)}, got "{self.normalise}"',
        )
        for name, unit, (low, high) in (("pixel_size", "mm", PIXEL_SIZES), ("noise_level", "HU", NOISE_LEVELS)):
            value = getattr(self, name)
            text = name.replace("_", " ")
            check(value is None or low <= value <= high, f"{text} must be {low:g} to {high:g} {unit}, got {value}")
        check(self.lungs in METHODS, f'lungs must be {" or ".join(METHODS)}, got "{self.lungs}"')

    @property
    def is_default(self) -> bool:
        """Whether HU are not changed and the built-in rule finds the lung."""
        return self == Preparation()

    def given(self) -> dict:
        """The options that are set, by name."""
        return {name: value for name, value in asdict(self).items() if value != getattr(PLAIN, name)}

    def to_text(self) -> str:
        """The options as JSON, for the attribute of a part."""
        return json.dumps(self.given(), sort_keys=True)

    @classmethod
    def of_text(cls, text: str) -> Preparation:
        """The options from `to_text`. Raises `InputError` if an option is unknown or not valid."""
        values = json.loads(text)
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        check(not unknown, f"options of a preparation must be among {sorted(known)}, got {unknown}: update ildfv")
        return cls(**values)

    def described(self) -> str:
        """The options as text for messages, as they are given to `prepare`."""
        options = [f"--{name.replace('_', '-')} {value}" for name, value in self.given().items()]
        return " ".join(options) or "none of --normalise, --pixel-size, --noise-level and --lungs lungmask"


PLAIN = Preparation()


def check_same(a: Preparation, b: Preparation, what: str) -> None:
    """Raises `InputError` unless both are equal. what: start of the message, such as "the slices must be prepared"."""
    check(a == b, f"{what} with {a.described()}, got {b.described()}")


def applied(
    volume: Volume, preparation: Preparation
) -> tuple[Volume, Callable[[np.ndarray, int], np.ndarray], list[str]]:
    """The scan with changed HU; a function that resamples its labels; and notes with the measured values.

    The function takes labels (z, y, x) on the grid of the volume, and the value for pixels beyond the scan.

    Raises
    ------
    InputError
        A value that an option needs cannot be measured in this scan, or the common grid does not contain its lung.
    """
    notes = []
    if preparation.normalise is not None:
        hu, note = normalised(volume.hu, volume.pixel_area, preparation.normalise)
        volume, notes = replace(volume, hu=hu), [note]
    field = None if preparation.pixel_size is None else Field.of(volume.geometry, preparation.pixel_size)
    if field is not None:
        field.check_lung(volume.hu, volume.pixel_area)
        volume = replace(volume, hu=field.hounsfield(volume.hu), geometry=field.grid(volume.geometry))
        notes.append(field.described(volume.geometry))
    if preparation.noise_level is not None:
        hu, note = reduced(volume.hu, volume.pixel_area, preparation.noise_level)
        volume = replace(volume, hu=hu)
        notes.append(note)
    return volume, (lambda labels, outside: labels) if field is None else field.labels, notes
