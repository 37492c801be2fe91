"""Meanings of label codes: the TOML table, and the translation of label maps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import numpy as np

from ildfv.errors import InputError
from ildfv.kernels.slices import histogram, look_up
from ildfv.parsing import read_toml
from ildfv.patterns import PATTERNS

OUTSIDE, HEALTHY, OTHER = "outside", "healthy", "other"
MEANINGS = (OUTSIDE, HEALTHY, OTHER, *PATTERNS)
INFORMATIVE = [MEANINGS.index(m) for m in (HEALTHY, *PATTERNS)]  # meanings that occur only where lung was labelled
UNKNOWN = 255  # instead of an index into `MEANINGS`
CHUNK = 1 << 20  # floating-point voxels rounded at a time
MAX_LABEL = 65535  # labels have at most 16 bits, so that a table with an entry per value can translate them
ROUNDING = 1e-3  # largest distance of a label from an integer: a file with a scale factor may contain 1.0000153 for 1


@dataclass(frozen=True)
class Codes:
    """Meaning of each label code: one of the four patterns, "healthy", "other" or "outside".

    code = value >> shift. "outside" is unlabelled background; "healthy" and "other" (known, but none of the four) mean
    that no pattern is present. A code that is missing from the table is an error.

    The TOML file has a table `[codes]` of code = meaning and an optional `shift`. A table `[segments]` of name =
    meaning is for files whose numbers are arbitrary and whose names determine the meaning: segments of DICOM SEG and 3D
    Slicer, and masks of one structure (`ground_glass.nii.gz`). A name that is itself a meaning needs no entry. One of
    the two tables is enough. `priority` lists meanings, highest first: where label maps or segments overlap, the
    meaning that is listed first is used.
    """

    meanings: Mapping[int, str]
    shift: int = 0
    segments: Mapping[str, str] = field(default_factory=dict)
    name: str = "codes"
    priority: tuple[str, ...] = ()
    source: Path | None = field(default=None, compare=False)  # the TOML file

    def __post_init__(self):
        if not 0 <= self.shift <= 15:
            raise InputError(f"{self.name}: shift must be in [0, 15], got {self.shift}")
        for code, meaning in [*self.meanings.items(), *self.segments.items()]:
            if meaning not in MEANINGS:
                raise InputError(f"{self.name}: code {code} must mean one of {', '.join(MEANINGS)}, got {meaning!r}")
        for meaning in self.priority:
            if meaning not in MEANINGS or meaning == OUTSIDE or self.priority.count(meaning) > 1:
                raise InputError(
                    f"{self.name}: priority must list {', '.join(MEANINGS[1:])}, each at most once, got {meaning!r}"
                )
        for code in self.meanings:
            if not 0 <= code <= MAX_LABEL >> self.shift:
                raise InputError(f"{self.name}: codes must be in [0, {MAX_LABEL >> self.shift}], got {code}")

    @classmethod
    def load(cls, source: str | Path) -> Codes:
        """The table in a TOML file, or a shipped table by its name, such as "phantom".

        Raises `InputError` if there is no such table, or it is invalid.
        """
        path = Path(source)
        name = path.name
        if path.suffix.lower() != ".toml":
            folder = Path(str(resources.files("ildfv.scans") / "codes"))
            shipped = sorted(p.stem for p in folder.glob("*.toml"))
            path = folder / f"{source}.toml"
            if str(source) not in shipped:
                raise InputError(f"codes must be a .toml file or one of {', '.join(shipped)}, got {str(source)!r}")
        try:
            content = read_toml(path)
        except OSError as error:
            raise InputError(f"codes must be a readable TOML file, got {path}: {error.strerror}") from error
        if unknown := set(content) - {"shift", "priority", "codes", "segments"}:
            raise InputError(
                f"{path} must contain only shift, priority, [codes] and [segments], got {', '.join(sorted(unknown))}"
            )
        shift, segments, priority = content.get("shift", 0), content.get("segments", {}), content.get("priority", [])
        codes = content.get("codes", {0: OUTSIDE} if segments else None)
        if not isinstance(shift, int) or isinstance(shift, bool):
            raise InputError(f"{path}: shift must be an integer, got {shift!r}")
        if not isinstance(codes, dict) or not codes or not isinstance(segments, dict):
            raise InputError(f"{path} must contain [codes] (code = meaning) or [segments], got {codes!r}")
        if not isinstance(priority, list) or not all(isinstance(meaning, str) for meaning in priority):
            raise InputError(f"{path}: priority must be a list of meanings, got {priority!r}")
        for code in map(str, codes):
            if not re.fullmatch(r"-?(0|[1-9][0-9]*)", code):  # 2 and 02 would be the same code
                raise InputError(f"{path}: codes must be integers such as 2, got {code!r}")
        meanings = {int(code): meaning for code, meaning in codes.items()}
        names: dict[str, str] = {}
        for label, meaning in segments.items():
            if names.setdefault(plain_name(label), meaning) != meaning:
                raise InputError(f"{path}: [segments] must give each name one meaning, got two for {label!r}")
        return cls(meanings, shift, names, name, tuple(priority), path)

    def settings(self) -> dict:
        """All settings of the translation as JSON values, for fingerprints."""
        tables = {"codes": sorted(self.meanings.items()), "segments": sorted(self.segments.items())}
        return {"shift": self.shift, **tables, **({"priority": self.priority} if self.priority else {})}

    def knows(self, name: str) -> bool:
        """Whether a segment or structure of that name has a meaning."""
        return plain_name(name) in self.segments or plain_name(name) in MEANINGS

    def segment_meaning(self, label: str) -> str:
        """The meaning of a segment or structure with that name. Raises `InputError` if it has none."""
        meaning = self.segments.get(plain_name(label), plain_name(label))
        if meaning not in MEANINGS:
            raise InputError(f"segment label must be a meaning or listed in [segments] of {self.name}, got {label!r}")
        return meaning

    def table(self, *, signed: bool) -> np.ndarray:
        """The index into `MEANINGS`, or `UNKNOWN`, of each 16-bit value, uint8 (65536,). signed: int16, not uint16."""
        known = np.full((MAX_LABEL >> self.shift) + 1, UNKNOWN, np.uint8)
        known[list(self.meanings)] = [MEANINGS.index(meaning) for meaning in self.meanings.values()]
        table = np.repeat(known, 1 << self.shift)
        if signed:
            table[1 << 15 :] = UNKNOWN  # these are negative values
        return table

    def translate(self, values: np.ndarray) -> np.ndarray:
        """Index into `MEANINGS` of each voxel's label, uint8, the shape of `values`.

        values: integers in [0, 65535], of any dtype. Raises `InputError` with the codes missing from the table.
        """
        values = label_integers(values)
        used = np.flatnonzero(histogram(values, 0, MAX_LABEL))
        unknown = sorted({int(value) >> self.shift for value in used} - set(self.meanings))
        if unknown:
            shown = ", ".join(map(str, unknown[:8])) + (", …" if len(unknown) > 8 else "")
            got = f"unknown code{'s' * (len(unknown) > 1)} {shown}"
            raise InputError(f"label codes must be listed in {self.name}, got {got}", faq="label-codes")
        table = np.zeros(int(used[-1]) + 1, np.uint8)
        table[used] = [MEANINGS.index(self.meanings[int(value) >> self.shift]) for value in used]
        return look_up(table, values)


def label_integers(values: np.ndarray) -> np.ndarray:
    """The label values as uint16, in their shape. Floats are rounded.

    Raises `InputError` if there are no values, or if a value is not within 1e-3 of an integer in [0, 65535].
    """
    if values.size == 0:
        raise InputError("a label map must not be empty, got no voxels")
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):  # min and max propagate NaN
        raise InputError("label values must be finite, got NaN or infinity")
    if low < -ROUNDING or high > MAX_LABEL + ROUNDING:
        raise InputError(f"label values must be in [0, {MAX_LABEL}], got {low:g} … {high:g}")
    if values.dtype == np.int16:  # no value is negative, so no copy is needed
        return values.view(np.uint16)
    if values.dtype.kind != "f":
        return values.astype(np.uint16, copy=False)
    result = np.empty(values.shape, np.uint16)
    flat = values.reshape(-1)
    for start in range(0, values.size, CHUNK):
        part = flat[start : start + CHUNK]
        nearest = np.round(part)
        if (np.abs(part - nearest) > ROUNDING).any():
            raise InputError("label values must be integers, got fractions (a resampled label map?)")
        result.reshape(-1)[start : start + CHUNK] = nearest
    return result


def plain_name(name: str) -> str:
    """The name of a segment for comparison: "Ground_Glass", "GroundGlass" and "ground glass" are one name."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|[\s_-]+", " ", name)
    return " ".join(spaced.casefold().split())


def pattern_labels(meanings: np.ndarray) -> np.ndarray:
    """The label map as it is stored, uint8 of the shape of `meanings`: 0 no pattern, otherwise pattern index + 1.

    meanings: from `Codes.translate`.
    """
    table = np.array([PATTERNS.index(m) + 1 if m in PATTERNS else 0 for m in MEANINGS], np.uint8)
    return look_up(table, meanings)


def meaning_counts(meanings: np.ndarray) -> np.ndarray:
    """Voxels of each of `MEANINGS` in each slice, int64 (z, 7). meanings: (z, y, x), from `Codes.translate`."""
    return np.stack([histogram(slice_, 0, len(MEANINGS) - 1) for slice_ in meanings])


def has_lung_labels(meanings: np.ndarray) -> bool:
    """Whether any voxel is labelled healthy or one of the patterns.

    A label map or slice that shows only lobes, airways or vessels is no evidence that patterns are absent. meanings:
    from `Codes.translate`.
    """
    return bool(histogram(meanings, 0, len(MEANINGS) - 1)[INFORMATIVE].any())
