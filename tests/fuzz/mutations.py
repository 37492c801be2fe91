"""Corrupted headers: bits flipped, fields set to extreme values or swapped, pieces removed, repeated or truncated.

Every function takes the bytes of a file and a random generator and returns other bytes; equal generators give equal
bytes.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from typing import NamedTuple

import nibabel
import numpy as np

Mutation = Callable[[bytes, np.random.Generator], bytes]

NUMBERS = [0, 1, -1, 2, 3, 7, 255, 32767, -32768, 65535, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1]
REALS = [0.0, -0.0, 1e-45, 1e-30, -1.0, 1e10, 1e38, -1e38, float("nan"), float("inf"), float("-inf"), 1e308]
TEXTS = [
    "",
    " ",
    "0",
    "-1",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "1e-400",
    "9" * 64,
    "1,5",
    "0x10",
    "\\",
    "1\\2",
    "\x00",
    "é",
]
TEXTS += ["1" * 5000, "\x1b[31m", "\u202e", "\n", "a\nb", "None", "[]", "()", "1 1 1", "(1,0,0)", "(nan,nan,nan)"]
LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT", b"OV", b"SV", b"UV"})


class Field(NamedTuple):
    """A field of a header: where its bytes are, and how a number in it is written, as in `struct`; "" for text."""

    start: int
    stop: int
    number: str = ""


def flip_bits(data: bytes, random: np.random.Generator, end: int) -> bytes:
    """1 to 8 bits before `end` are flipped."""
    changed = bytearray(data)
    for _ in range(int(random.integers(1, 9))):
        changed[int(random.integers(end))] ^= 1 << int(random.integers(8))
    return bytes(changed)


def set_bytes(data: bytes, random: np.random.Generator, end: int) -> bytes:
    """A run of 1 to 16 bytes before `end` is replaced by random bytes, zero bits or one bits."""
    start, length = int(random.integers(end)), int(random.integers(1, 17))
    fill = [random.bytes(length), b"\0" * length, b"\xff" * length][int(random.integers(3))]
    return data[:start] + fill + data[start + length :]


def cut(data: bytes, random: np.random.Generator, end: int) -> bytes:
    """The file ends within its header or anywhere."""
    return data[: int(random.integers(end if random.random() < 0.7 else len(data)))]


def remove(data: bytes, random: np.random.Generator, end: int) -> bytes:
    """A piece of the header is removed."""
    start = int(random.integers(end))
    return data[:start] + data[start + int(random.integers(1, 200)) :]


def repeat(data: bytes, random: np.random.Generator, end: int) -> bytes:
    """A piece of the header is repeated."""
    start = int(random.integers(end))
    stop = min(end, start + int(random.integers(1, 200)))
    return data[:stop] + data[start:stop] + data[stop:]


ANY = (flip_bits, set_bytes, cut, remove, repeat)


def set_field(data: bytes, random: np.random.Generator, fields: list[Field]) -> bytes:
    """One field has an extreme value of its type and length."""
    field = fields[int(random.integers(len(fields)))]
    length = field.stop - field.start
    value = _number(field.number, random) if field.number else _text(random)[:length].ljust(length, b" ")
    return data[: field.start] + value + data[field.start + len(value) :]


def swap_fields(data: bytes, random: np.random.Generator, fields: list[Field]) -> bytes:
    """Two fields exchange their bytes, up to the shorter length."""
    a, b = (fields[int(i)] for i in random.choice(len(fields), 2, replace=len(fields) < 2))
    length = min(a.stop - a.start, b.stop - b.start)
    changed = bytearray(data)
    changed[a.start : a.start + length] = data[b.start : b.start + length]
    changed[b.start : b.start + length] = data[a.start : a.start + length]
    return bytes(changed)


def _number(kind: str, random: np.random.Generator) -> bytes:
    if kind[-1] in "fd":
        return struct.pack(kind, np.clip(REALS[int(random.integers(len(REALS)))], *_range(kind)))
    bits = 8 * struct.calcsize(kind)
    value = NUMBERS[int(random.integers(len(NUMBERS)))] & ((1 << bits) - 1)
    return value.to_bytes(bits // 8, "little")


def _range(kind: str) -> tuple[float, float]:
    return (-3e38, 3e38) if kind[-1] == "f" else (-np.inf, np.inf)


def _text(random: np.random.Generator) -> bytes:
    return TEXTS[int(random.integers(len(TEXTS)))].encode()


def dicom(data: bytes, random: np.random.Generator) -> bytes:
    """A DICOM file (explicit VR, little endian) with a broken header."""
    elements = _dicom_elements(data)
    end = elements[-1].start  # of the pixel data
    choice = int(random.integers(4))
    if choice == 0:
        return ANY[int(random.integers(len(ANY)))](data, random, end)
    if choice == 1:
        return set_field(data, random, [Field(e.start, e.stop, e.number) for e in elements[:-1] if e.stop > e.start])
    if choice == 2:
        return swap_fields(data, random, [Field(e.start, e.stop) for e in elements[:-1]])
    return _dicom_value(data, random, elements)


def _dicom_value(data: bytes, random: np.random.Generator, elements: list[Field]) -> bytes:
    """One element has an extreme value of any length, or a length that does not match its value."""
    element = elements[int(random.integers(len(elements)))]
    head = element.start - (2 if data[element.start - 4 : element.start - 2] not in LONG else 4)
    width = element.start - head
    if random.random() < 0.3:
        length = [0, 1, 2**15, 2**16 - 1, 2**31, 2**32 - 1][int(random.integers(6))] & ((1 << 8 * width) - 1)
        return data[:head] + length.to_bytes(width, "little") + data[element.start :]
    value = _text(random)
    value += b" " * (len(value) % 2)
    value = value[: (1 << 8 * width) - 2]
    return data[:head] + len(value).to_bytes(width, "little") + value + data[element.stop :]


def _dicom_elements(data: bytes) -> list[Field]:
    """The values of all elements on the top level, in file order, the pixel data last."""
    numbers = {b"US": "<H", b"SS": "<h", b"UL": "<I", b"SL": "<i", b"FL": "<f", b"FD": "<d"}
    at, found = 132, []
    while at < len(data):
        vr = data[at + 4 : at + 6]
        wide = vr in LONG
        start = at + (12 if wide else 8)
        length = int.from_bytes(data[start - (4 if wide else 2) : start], "little")
        found.append(Field(start, start + length, numbers.get(vr, "")))
        at = start + length
    return found


NIFTI = [
    Field(offset, offset + dtype.itemsize, {"i": f"<{dtype.char}", "f": f"<{dtype.char}"}.get(dtype.kind, ""))
    for dtype, offset in (
        (base[0].base, base[1] + i * base[0].base.itemsize)
        for base in nibabel.Nifti1Header.template_dtype.fields.values()
        for i in range(base[0].itemsize // base[0].base.itemsize)
    )
]


def nifti(data: bytes, random: np.random.Generator) -> bytes:
    """A NIfTI-1 file with a broken header."""
    choice = int(random.integers(3))
    if choice == 0:
        return ANY[int(random.integers(len(ANY)))](data, random, 352)
    change = set_field if choice == 1 else swap_fields
    for _ in range(int(random.integers(1, 4))):
        data = change(data, random, NIFTI)
    return data


def nrrd(data: bytes, random: np.random.Generator) -> bytes:
    """A NRRD file with a broken header: bytes or lines."""
    end = data.index(b"\n\n") + 2
    if random.random() < 0.3:
        return ANY[int(random.integers(len(ANY)))](data, random, end)
    lines = data[: end - 2].split(b"\n")
    one, other = (int(i) for i in random.integers(1, len(lines), 2))
    choice = int(random.integers(5))
    if choice == 0:
        lines[one], lines[other] = (
            _with_value(lines[one], _value(lines[other])),
            _with_value(lines[other], _value(lines[one])),
        )
    elif choice == 1:
        lines[one] = _with_value(lines[one], _text(random))
    elif choice == 2:
        words = _value(lines[one]).split(b" ")
        words[int(random.integers(len(words)))] = str(NUMBERS[int(random.integers(len(NUMBERS)))]).encode()
        lines[one] = _with_value(lines[one], b" ".join(words))
    elif choice == 3:
        del lines[one]
    else:
        lines.insert(one, lines[other])
    return b"\n".join(lines) + data[end - 2 :]


def _value(line: bytes) -> bytes:
    return line.partition(b": ")[2]


def _with_value(line: bytes, value: bytes) -> bytes:
    return line.partition(b": ")[0] + b": " + value


def compressed(mutation: Mutation) -> Mutation:
    """The mutation `mutate` for gzip files: the content is corrupted or, less often, the compressed bytes."""

    def mutate(data: bytes, random: np.random.Generator) -> bytes:
        if random.random() < 0.2:
            return ANY[int(random.integers(len(ANY)))](data, random, len(data))
        return gzip.compress(mutation(gzip.decompress(data), random), mtime=0)

    return mutate
