"""What the codes of a label map mean: a small TOML table, and label maps translated by it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import numpy as np

from ildfv.documents import read_toml
from ildfv.errors import InputError
from ildfv.patterns import PATTERNS

OUTSIDE, HEALTHY, OTHER = "outside", "healthy", "other"
MEANINGS = (OUTSIDE, HEALTHY, OTHER, *PATTERNS)
CHUNK = 1 << 20  # voxels looked up at once: NumPy widens indices to 64 bits, eight times a whole scan's labels
LARGEST = 65535  # label maps are 16-bit: one table look-up translates a voxel


@dataclass(frozen=True)
class Codes:
    """Meaning of each label code: one of the four patterns, "healthy", "other" or "outside".

    code = value >> shift. "outside" says nothing about the tissue (background); "healthy" and "other" (known, but none
    of the four) say that no pattern is there. A code that the table lacks is an error, never a guess.

    The TOML file: an optional `shift`, a table `[codes]` of code = meaning, and an optional table `[segments]` of
    segment label = meaning for DICOM SEG, whose segment numbers are arbitrary; a segment whose label is itself a
    meaning needs no entry.
    """

    meanings: Mapping[int, str]
    shift: int = 0
    segments: Mapping[str, str] = field(default_factory=dict)
    name: str = "codes"

    def __post_init__(self):
        if not 0 <= self.shift <= 15:
            raise InputError(f"{self.name}: shift must be in [0, 15], got {self.shift}")
        for code, meaning in [*self.meanings.items(), *self.segments.items()]:
            if meaning not in MEANINGS:
                raise InputError(f"{self.name}: code {code} must mean one of {', '.join(MEANINGS)}, got {meaning!r}")
        for code in self.meanings:
            if not 0 <= code <= LARGEST >> self.shift:
                raise InputError(f"{self.name}: codes must be in [0, {LARGEST >> self.shift}], got {code}")

    @classmethod
    def load(cls, source: str | Path) -> Codes:
        """The table in a TOML file, or a shipped one by its name: "phantom" or "cip"."""
        path = Path(source)
        name = path.name
        if path.suffix.lower() != ".toml":
            path = Path(str(resources.files("ildfv.scans") / "codes" / f"{source}.toml"))
            if not path.exists():
                shipped = sorted(p.stem for p in path.parent.glob("*.toml"))
                raise InputError(f"codes must be a .toml file or one of {', '.join(shipped)}, got {str(source)!r}")
        try:
            content = read_toml(path)
        except OSError as error:
            raise InputError(f"codes must be a readable file: {path}: {error.strerror}") from error
        if unknown := set(content) - {"shift", "codes", "segments"}:
            raise InputError(f"{path} must hold only shift, [codes] and [segments], got {', '.join(sorted(unknown))}")
        shift, codes, segments = content.get("shift", 0), content.get("codes"), content.get("segments", {})
        if not isinstance(shift, int) or isinstance(shift, bool):
            raise InputError(f"{path}: shift must be a whole number, got {shift!r}")
        if not isinstance(codes, dict) or not codes or not isinstance(segments, dict):
            raise InputError(f"{path} must hold a table [codes] of code = meaning, got {codes!r}")
        for code in codes:
            if not re.fullmatch(r"-?(0|[1-9][0-9]*)", code):  # 2 and 02 would be one code
                raise InputError(f"{path}: codes must be whole numbers, such as 2, got {code!r}")
        meanings = {int(code): meaning for code, meaning in codes.items()}
        return cls(meanings, shift, {label.casefold(): meaning for label, meaning in segments.items()}, name)

    def settings(self) -> dict:
        """All that decides a translation, JSON-able: part of the key of what was made with it."""
        return {"shift": self.shift, "codes": sorted(self.meanings.items()), "segments": sorted(self.segments.items())}

    def segment_meaning(self, label: str) -> str:
        """What a DICOM SEG segment of that label means."""
        meaning = self.segments.get(label.strip().casefold(), label.strip().casefold())
        if meaning not in MEANINGS:
            raise InputError(f"segment label must be a meaning or listed in [segments] of {self.name}, got {label!r}")
        return meaning

    def translate(self, values: np.ndarray) -> np.ndarray:
        """Index into `MEANINGS` of each voxel's label, uint8, the shape of `values`.

        values: whole numbers in [0, 65535], of any dtype. Raises `InputError` naming the codes that the table lacks.
        """
        values = whole_numbers(values)
        used = np.flatnonzero(_seen(values, LARGEST + 1))
        unknown = sorted({int(value) >> self.shift for value in used} - set(self.meanings))
        if unknown:
            shown = ", ".join(map(str, unknown[:8])) + (", …" if len(unknown) > 8 else "")
            raise InputError(f"label codes must be listed in {self.name}, got unknown {shown}")
        table = np.zeros(int(used[-1]) + 1, np.uint8)
        table[used] = [MEANINGS.index(self.meanings[int(value) >> self.shift]) for value in used]
        return _mapped(table, values)


def whole_numbers(values: np.ndarray) -> np.ndarray:
    """The label values as uint16; floats are taken only if all of them are whole."""
    if values.size == 0:
        raise InputError("a label map must have voxels, got none")
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):  # min and max carry NaN
        raise InputError("label values must be finite, got NaN or infinity")
    if low < 0 or high > LARGEST:
        raise InputError(f"label values must be in [0, {LARGEST}], got {low:g} … {high:g}")
    if values.dtype.kind == "f" and not np.array_equal(values, np.floor(values)):
        raise InputError("label values must be whole numbers, got fractions (a resampled label map?)")
    return values.astype(np.uint16, copy=False)


def pattern_labels(meanings: np.ndarray) -> np.ndarray:
    """Label map as the store holds it, uint8: 0 none, 1 … 4 pattern + 1. meanings: from `Codes.translate`."""
    table = np.array([PATTERNS.index(m) + 1 if m in PATTERNS else 0 for m in MEANINGS], np.uint8)
    return _mapped(table, meanings)


def says_something(meanings: np.ndarray) -> bool:
    """Whether any voxel is labelled healthy or one of the patterns.

    A map of lobes, airways or vessels alone is a label map too, but no evidence that the patterns are absent.
    """
    telling = np.array([m == HEALTHY or m in PATTERNS for m in MEANINGS])
    return bool((telling & _seen(meanings, len(MEANINGS))).any())


def _seen(values: np.ndarray, n: int) -> np.ndarray:
    """Which of the numbers below n occur, bool (n,)."""
    seen = np.zeros(n, bool)
    for start in range(0, values.size, CHUNK):
        seen[values.reshape(-1)[start : start + CHUNK]] = True
    return seen


def _mapped(table: np.ndarray, values: np.ndarray) -> np.ndarray:
    """table[values], of the table's type."""
    result = np.empty(values.size, table.dtype)
    for start in range(0, values.size, CHUNK):
        result[start : start + CHUNK] = table[values.reshape(-1)[start : start + CHUNK]]
    return result.reshape(values.shape)
