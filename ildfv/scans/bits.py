"""The interpretation of the bits of a stored pixel. Files are refused if the interpretation is ambiguous.

A pixel is a word of 16 bits. Its value is in BitsStored of these bits, from HighBit downwards. The other bits should be
0 or copies of the sign bit; old files store overlays in them. Libraries ignore HighBit, and some discard the other bits
while others keep them.
"""

from __future__ import annotations

import numpy as np

from ildfv.errors import InputError

WORD = 16
OVERLAYS = range(0x6000, 0x6020, 2)


def check_declared(dataset) -> None:
    """Raises `InputError` unless the value is in the low BitsStored bits of a 16-bit word, signed or unsigned."""
    stored, high = dataset.get("BitsStored"), dataset.get("HighBit")
    if stored is None or not 1 < stored <= WORD:
        raise InputError(f"BitsStored must be 2 … {WORD}, got {'none' if stored is None else stored}")
    if high is not None and high != stored - 1:
        raise InputError(
            f"HighBit must be BitsStored - 1 ({stored - 1}), got {high}: it is uncertain which bits contain the value. "
            "Export the series again or correct the header"
        )
    if (sign := dataset.get("PixelRepresentation")) not in (0, 1):
        raise InputError(f"PixelRepresentation must be 0 or 1, got {'none' if sign is None else sign}")


def meaning(
    words: np.ndarray, dataset, *, precision: int | None = None, signed_stream: bool | None = None
) -> np.ndarray:
    """The values, int16 or uint16 (rows, columns), as the header declares them.

    Parameters
    ----------
    words : array (rows, columns)
        Pixels as stored or decoded, without any correction.
    dataset : pydicom Dataset
        The header.
    precision : int, optional
        Bits per pixel declared by the compressed stream.
    signed_stream : bool, optional
        Whether the compressed stream declares signed values; None if its format has no sign.

    Raises
    ------
    InputError
        If `check_declared` refuses the header, if bits above BitsStored are not 0, copies of the sign bit or declared
        overlays, or if the stream contradicts the header, so that values are uncertain.
    """
    check_declared(dataset)
    bits, signed = int(dataset.BitsStored), bool(dataset.PixelRepresentation)
    words = words.astype(np.int64).astype(np.uint16)  # any width and byte order
    if precision is not None:
        words = _of_stream(words, bits, signed, precision, signed_stream)
    overlays = _overlay_bits(dataset, bits)
    if bits == WORD:
        return words.view(np.int16) if signed else words
    above = np.uint16(~((1 << bits) - 1) & 0xFFFF & ~overlays)  # bits that must be 0 or copies of the sign
    value = words & np.uint16((1 << bits) - 1)
    negative = (value >> np.uint16(bits - 1)).astype(bool) if signed else np.zeros(words.shape, bool)
    wrong = (words & above) != np.where(negative, above, np.uint16(0))
    if wrong.any():
        wrong &= ~_is_padding(words, dataset)
    if wrong.any():
        first = words[wrong][0]
        raise InputError(
            f"pixel values must fit in BitsStored ({bits}, {'signed' if signed else 'unsigned'}), got "
            f"{int(first.view(np.int16) if signed else first)} (pixels: {np.count_nonzero(wrong):,}): it is uncertain "
            "how to interpret the higher bits"
        )
    result = (value | np.where(negative, np.uint16(0xFFFF & ~((1 << bits) - 1)), np.uint16(0))) if signed else value
    padding = _is_padding(words, dataset)
    result = np.where(padding, words, result) if padding.any() else result
    return result.view(np.int16) if signed else result


def _of_stream(words: np.ndarray, bits: int, signed: bool, precision: int, signed_stream: bool | None) -> np.ndarray:
    """The decoded words, sign-extended from `precision` bits. Raises `InputError` if stream and header differ."""
    top = (words >> np.uint16(min(precision, WORD) - 1)) & np.uint16(1)
    if signed_stream is not None and signed_stream != signed and top.any() and not (signed and precision == WORD):
        declared = "signed" if signed_stream else "unsigned"
        raise InputError(
            f"PixelRepresentation must match the compressed stream ({declared}), got {int(signed)}: it is "
            "uncertain whether large values are negative"
        )
    if not signed or signed_stream or precision >= WORD:
        return words
    if precision < bits and top.any():
        raise InputError(f"a compressed stream of signed values must have BitsStored ({bits}) bits, got {precision}")
    shift = np.int16(WORD - precision)
    return ((words.view(np.int16) << shift) >> shift).view(np.uint16)


def _overlay_bits(dataset, bits: int) -> int:
    """Mask of the bits of a word that are overlays according to the header."""
    mask = 0
    for group in OVERLAYS:
        position = dataset.get((group, 0x0102))
        if position is None or (group, 0x3000) in dataset:  # an overlay with separate data uses no bits of the pixels
            continue
        allocated = dataset.get((group, 0x0100))
        if allocated is None or allocated.value != WORD:
            continue
        if not bits <= int(position.value) < WORD:
            raise InputError(f"OverlayBitPosition must be at least BitsStored ({bits}), got {position.value}")
        mask |= 1 << int(position.value)
    return mask


def _is_padding(words: np.ndarray, dataset) -> np.ndarray:
    """Pixels that equal the declared padding, which may be outside the range of BitsStored."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(words.shape, bool)
    if isinstance(value, bytes):
        value = int.from_bytes(value[:2], "little")
    return words == np.uint16(int(value) & 0xFFFF)
