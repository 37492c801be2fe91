"""Headers of single-frame CT slices in the usual encoding, without pydicom's parser, which takes ten times as long.

Elements are located here, and pydicom converts their values. A value is converted once for all slices that share it.
Any file that is not in the usual encoding, or that has an irregularity, is left to pydicom.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, NamedTuple

CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
BUFFER = 64 << 10  # bytes; the pixel data must start within these; headers of CT slices have 2 to 20 KB
GROUP_LENGTH, TRANSFER_SYNTAX, LAST_OF_META, PIXELS = 0x00020000, 0x00020010, 0x0002FFFF, 0x7FE00010
ITEM, SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
ITEM_END = b"\xfe\xff\x0d\xe0"
UNDEFINED = 0xFFFFFFFF
EXPLICIT_ELEMENT = struct.Struct("<HH2sH").unpack_from
IMPLICIT_ELEMENT = struct.Struct("<HHL").unpack_from
LONG_LENGTH = struct.Struct("<L").unpack_from
LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
SHORT = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())  # length of 16 bits
NUMBERS = frozenset((b"FD", b"FL", b"SL", b"SS", b"UL", b"US"))
NESTED = 8  # levels of sequences


class Element(NamedTuple):
    """A data element: VR (b"" if the encoding is implicit), and where its value is."""

    tag: int
    vr: bytes
    start: int
    length: int


class PlainHeader:
    """Values by keyword, with the methods of pydicom's Dataset that `ct_header` uses.

    elements: the wanted elements by keyword. pixels: the pixel data. overlays: whether there are overlays.
    """

    def __init__(self, data: bytes, syntax: str, elements: dict[str, Element], pixels: Element, overlays: bool):
        self.file_meta = SimpleNamespace(TransferSyntaxUID=syntax)
        self.pixels, self.overlays = pixels, overlays
        self._raw = {name: data[start : start + n] for name, (_, _, start, n) in elements.items()}
        self._values = {name: _converted(one.tag, one.vr, self._raw[name]) for name, one in elements.items()}

    def get(self, name: str, default: Any = None) -> Any:
        return self._values.get(name, default)

    def raw(self, name: str) -> bytes | None:
        """The bytes of a value, or None."""
        return self._raw.get(name)


def plain_header(data: bytes, wanted: dict[int, str], refused: frozenset[int]) -> PlainHeader | None:
    """The header in the first `BUFFER` bytes of a file, or None if pydicom must read it.

    wanted: keywords by tag. refused: tags of elements that must not occur, because they need pydicom.
    """
    try:
        return _header(data, wanted, refused)
    except (ValueError, struct.error, ConversionError):  # pydicom reads the file instead and describes the fault
        return None


class ConversionError(Exception):
    """pydicom cannot convert a value. It may raise any exception in this case."""


def _header(data: bytes, wanted: dict[int, str], refused: frozenset[int]) -> PlainHeader | None:
    syntax, at = _file_meta(data)
    if syntax not in (IMPLICIT, EXPLICIT):
        return None
    explicit = syntax == EXPLICIT
    elements: dict[str, Element] = {}
    last, overlays = LAST_OF_META, False
    while last < PIXELS:
        tag, vr, start, length, end = _element(data, at, explicit)
        if tag <= last or tag in refused:
            return None
        if tag in wanted:
            one = Element(tag, vr, start, length)
            if vr == b"SQ" or not (_is_number(one) or _is_plain_text(data[start:end])):
                return None
            elements[wanted[tag]] = one
        overlays = overlays or 0x60000000 <= tag < 0x60200000
        last, at = tag, end
    header = PlainHeader(data, syntax, elements, Element(tag, vr, start, length), overlays)
    return header if tag == PIXELS and header.get("SOPClassUID") == CT_CLASS else None


def _is_number(element: Element) -> bool:
    """Whether the value is binary. Without a VR, only 16-bit integers of the image group are known to be binary."""
    return element.vr in NUMBERS or (element.vr == b"" and element.tag >> 16 == 0x0028 and element.length == 2)


def _is_plain_text(value: bytes) -> bool:
    """Whether the bytes are the same text in all character sets."""
    return value.isascii() and b"\x1b" not in value


def _file_meta(data: bytes) -> tuple[str, int]:
    """The transfer syntax, and where the dataset starts. Raises `ValueError` if there is no preamble."""
    if data[128:132] != b"DICM":
        raise ValueError("no preamble")
    at, syntax = 132, b""
    while data[at : at + 2] == b"\x02\0":
        tag, vr, start, length, end = _element(data, at, True)
        if tag == GROUP_LENGTH and (vr, length) != (b"UL", 4):
            raise ValueError("no group length")
        if tag == TRANSFER_SYNTAX:
            syntax = data[start:end]
        at = end
    return syntax.rstrip(b"\0 ").decode("ascii"), at


def _element(data: bytes, at: int, explicit: bool, nested: int = 0) -> tuple[int, bytes, int, int, int]:
    """(tag, VR, start of the value, declared length, end of the value) of the element that starts at byte `at`.

    Raises `ValueError` or `struct.error` if it is irregular or not in `data`. For the pixel data, whose value is not in
    `data`, the end is the start.
    """
    if explicit:
        group, number, vr, length = EXPLICIT_ELEMENT(data, at)
        start = at + 8
        if vr in LONG:
            (length,) = LONG_LENGTH(data, start)
            start += 4
        elif vr not in SHORT:
            raise ValueError("unknown VR")
    else:
        group, number, length = IMPLICIT_ELEMENT(data, at)
        vr, start = b"", at + 8
    tag = group << 16 | number
    if tag == PIXELS and not nested:
        return tag, vr, start, length, start
    if length == UNDEFINED:
        if vr not in (b"SQ", b"") or nested > NESTED:
            raise ValueError("undefined length")
        end = _sequence_end(data, start, explicit, nested + 1)
    else:
        end = start + length
    if end > len(data):
        raise ValueError("beyond the buffer")
    return tag, vr, start, length, end


def _sequence_end(data: bytes, at: int, explicit: bool, nested: int) -> int:
    """The byte after a sequence of undefined length whose items start at byte `at`."""
    while True:
        group, number, length = IMPLICIT_ELEMENT(data, at)
        tag, at = group << 16 | number, at + 8
        if tag == SEQUENCE_END:
            return at
        if tag != ITEM:
            raise ValueError("not an item")
        if length != UNDEFINED:
            at += length
            continue
        while data[at : at + 4] != ITEM_END:
            *_, at = _element(data, at, explicit, nested)
        at += 8


@lru_cache(maxsize=4096)  # a series shares most values; each slice has about six of its own
def _converted(tag: int, vr: bytes, value: bytes) -> Any:
    """The value as pydicom converts it. Text must be ASCII, because the character set is not known here."""
    from pydicom.dataelem import RawDataElement, convert_raw_data_element
    from pydicom.tag import BaseTag

    raw = RawDataElement(BaseTag(tag), vr.decode("ascii") or None, len(value), value, 0, not vr, True)
    try:
        return convert_raw_data_element(raw, encoding="iso8859").value
    except Exception as error:
        raise ConversionError from error
