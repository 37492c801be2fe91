"""The assumed relation of the grey levels and pixels of an image to Hounsfield units and millimetres."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ildfv.errors import InputError, check

FIELD = 350.0  # mm; assumed length of the longer side of an image, a usual field of view of chest CT


@dataclass(frozen=True)
class Grey:
    """The HU of the smallest and of the largest grey level of the pixel type.

    field: the assumed length of the longer side of an image, mm. InputError: `low` is not below `high`, or one of the
    two is not finite.
    """

    low: float
    high: float
    field: float = FIELD

    def __post_init__(self):
        finite = math.isfinite(self.low) and math.isfinite(self.high)
        check(
            finite and self.low < self.high,
            f"grey must be two HU LOW,HIGH with LOW below HIGH, such as -1350,150, got {self.low:g},{self.high:g}",
        )

    @classmethod
    def parse(cls, text: str) -> Grey:
        """The two HU of a text "LOW,HIGH". Raises `InputError` for another text."""
        try:
            low, high = (float(part) for part in text.split(","))
        except ValueError:
            raise InputError(f"grey must be two numbers LOW,HIGH, such as -1350,150, got {text!r}") from None
        return cls(low, high)

    @property
    def option(self) -> str:
        """The two HU as an option of `prepare`."""
        return f"--grey {self.low:g},{self.high:g}"

    def step(self, bits: int) -> float:
        """HU between neighbouring grey levels."""
        return (self.high - self.low) / (2**bits - 1)
