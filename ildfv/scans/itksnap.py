"""Label descriptions of ITK-SNAP: a text file that names the values of a label map.

    # ITK-SnAP Label Description File
    # IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
        0     0    0    0        0  0  0    "Clear Label"
        1   255    0    0        1  1  1    "ground glass"

As in segmentations of 3D Slicer, the numbering differs between users, so the names determine the meaning.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ildfv.errors import InputError
from ildfv.parsing import open_regular
from ildfv.scans.labels import MEANINGS, OUTSIDE, Codes, label_integers

MARK = b"itk-snap label description"  # in the first lines of the file, in any letter case
LINE = re.compile(r"\s*(\d+)(?:\s+[\d.]+){4}(?:\s+[01]){2}\s+\"(.*)\"\s*")
UNNAMED = re.compile(r"label \d+", re.IGNORECASE)  # the name that ITK-SNAP gives to a new label
CLEAR = "clear label"  # the name of 0
MAX_SIZE = 1 << 20  # bytes; a label takes about 60


def is_description(start: bytes) -> bool:
    """Whether a file with these first bytes is a label description of ITK-SNAP."""
    return start.lstrip().startswith(b"#") and MARK in start.lower()


def label_names(path: Path) -> dict[int, str]:
    """The name of each label by its value.

    Raises `InputError` if the file is too large or not a label description, or has two names for one value.
    """
    with open_regular(path) as file:
        raw = file.read(MAX_SIZE + 1)
    if len(raw) > MAX_SIZE:
        raise InputError(f"{path.name} must have at most {MAX_SIZE:,} bytes, got more")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    names: dict[int, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = LINE.fullmatch(line)
        if found is None:
            raise InputError(f"{path.name}, line {number} must be a label of ITK-SNAP, got {line.strip()[:80]!r}")
        if names.setdefault(int(found[1]), found[2].strip()) != found[2].strip():
            raise InputError(f"{path.name}, line {number}: label {found[1]} must have one name, got a second name")
    return names


def translate(values: np.ndarray, names: Mapping[int, str], codes: Codes) -> np.ndarray:
    """Index into `MEANINGS` of each voxel, uint8, the shape of `values`.

    The name of a label determines its meaning. A label with a default name ("Label 1") has the meaning in [codes].
    Raises `InputError` if a name, or the value of an unnamed label, has no meaning, if [codes] gives a named label
    another meaning, and for values that `label_integers` refuses.
    """
    values = label_integers(values)
    used = np.unique(values)
    table = np.zeros(int(used[-1]) + 1, np.uint8)
    unnamed = []
    for value in map(int, used):
        name = names.get(value, "")
        if not name or UNNAMED.fullmatch(name) or (name.casefold() == CLEAR and value == 0):
            unnamed.append(value)
        else:
            table[value] = MEANINGS.index(_meaning(value, name, codes))
    if 0 in unnamed and not codes.meanings.get(0):
        unnamed.remove(0)
        table[0] = MEANINGS.index(OUTSIDE)
    if unnamed:
        table[unnamed] = codes.translate(np.array(unnamed))
    return table[values]


def _meaning(value: int, name: str, codes: Codes) -> str:
    """The meaning of a named label. Raises `InputError` if [codes] gives its value another meaning."""
    code = value >> codes.shift
    other = codes.meanings.get(code)
    if other is not None and not codes.segments and not codes.knows(name):
        return other  # without [segments], names are ignored
    meaning = codes.segment_meaning(name)
    if other not in (None, meaning):
        raise InputError(
            f"label {name!r} must mean {other} like code {code} of {codes.name}, got {meaning}: ITK-SNAP numbers "
            "labels per user, so use a table without [codes] for its files"
        )
    return meaning
