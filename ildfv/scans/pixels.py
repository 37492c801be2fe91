"""Stored pixel values of DICOM slices, compressed or not, and the list of decoders. None of them is under the GPL."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from ildfv.errors import InputError, MissingPackageError
from ildfv.scans.bits import meaning
from ildfv.scans.libraries import format_error

NATIVE = ("pydicom", None)
OPENJPEG = ("pylibjpeg", "pylibjpeg-openjpeg")
CHARLS = ("pyjpegls", "pyjpegls")
GDCM = ("gdcm", "python-gdcm")

# Transfer syntax: name, pydicom plugin, package of the plugin.
DECODERS: dict[str, tuple[str, str, str | None]] = {
    "1.2.840.10008.1.2": ("Implicit VR Little Endian", *NATIVE),
    "1.2.840.10008.1.2.1": ("Explicit VR Little Endian", *NATIVE),
    "1.2.840.10008.1.2.2": ("Explicit VR Big Endian", *NATIVE),
    "1.2.840.10008.1.2.5": ("RLE Lossless", *NATIVE),
    "1.2.840.10008.1.2.4.51": ("JPEG Extended", *GDCM),
    "1.2.840.10008.1.2.4.57": ("JPEG Lossless", *GDCM),
    "1.2.840.10008.1.2.4.70": ("JPEG Lossless SV1", *GDCM),
    "1.2.840.10008.1.2.4.80": ("JPEG-LS Lossless", *CHARLS),
    "1.2.840.10008.1.2.4.81": ("JPEG-LS Near-lossless", *CHARLS),
    "1.2.840.10008.1.2.4.90": ("JPEG 2000 Lossless", *OPENJPEG),
    "1.2.840.10008.1.2.4.91": ("JPEG 2000", *OPENJPEG),
    "1.2.840.10008.1.2.4.201": ("High-Throughput JPEG 2000 Lossless", *OPENJPEG),
    "1.2.840.10008.1.2.4.202": ("High-Throughput JPEG 2000 RPCL Lossless", *OPENJPEG),
    "1.2.840.10008.1.2.4.203": ("High-Throughput JPEG 2000", *OPENJPEG),
}
# Stops pydicom from silently correcting bits that contradict the header; `meaning` handles such bits.
UNCORRECTED: dict[str, Any] = {
    "apply_j2k_sign_correction": False,
    "apply_jls_sign_correction": False,
    "correct_unused_bits": False,
}
FRAME_HEADERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # JPEG markers with the image size; F7: JPEG-LS
MAX_COMPRESSION_RATIO = 10_000  # ratio of decoded to encoded bytes; a constant slice in JPEG 2000 reaches 3000
UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
COMPRESSED = {syntax: decoder for syntax, decoder in DECODERS.items() if syntax not in UNCOMPRESSED}


def can_decode(syntax: str) -> bool:
    """Whether the decoder of this transfer syntax, one of `DECODERS`, is installed."""
    from pydicom.pixels import get_decoder

    _, plugin, package = DECODERS[syntax]
    return package is None or plugin in get_decoder(syntax).available_plugins


def stored_values(dataset, index: int = 0) -> np.ndarray:
    """The stored values of one frame, int16 or uint16 (rows, columns).

    Raises `InputError` if they cannot be decoded or the meaning of their bits is ambiguous, and `MissingPackageError`
    if the decoder is not installed.
    """
    from pydicom.pixels import get_decoder

    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax not in DECODERS:
        raise InputError(f"transfer syntax must be one that is used for CT, got {syntax.name}")
    if "PixelData" not in dataset:  # the tag exists, because `read_header` has checked it
        raise InputError("PixelData must be complete, got a truncated file")
    name, plugin, package = DECODERS[syntax]
    decoder = get_decoder(syntax)
    if not can_decode(syntax):
        raise MissingPackageError(f"{package} is required for {name}: pip install {package}")
    try:
        stream = {} if package is None else _stream_of(dataset, index)
        # Without the name of a plugin, pydicom would choose one of those that are installed.
        values, _ = decoder.as_array(
            dataset, index=index, decoding_plugin="" if syntax in UNCOMPRESSED else plugin, **UNCORRECTED
        )
    except InputError:
        raise
    except Exception as error:  # each library raises its own exceptions for a corrupt stream
        rule = f"pixels must be decodable ({name})"
        raise InputError(f"{rule}, got {format_error(error)}", faq="compressed-dicom") from error
    if values.shape != (dataset.Rows, dataset.Columns):
        raise InputError(f"pixels must have shape {(dataset.Rows, dataset.Columns)}, got {values.shape}")
    return meaning(values, dataset, **stream)


def _stream_of(dataset, index: int) -> dict:
    """Precision and sign of the values of a compressed frame, as arguments of `meaning`.

    Raises `InputError` if the stream and the header declare different sizes: decoders allocate the size in the stream.
    """
    from pydicom.encaps import get_frame

    stream = get_frame(dataset.PixelData, index, number_of_frames=int(dataset.get("NumberOfFrames") or 1))
    shape = stream_shape(stream)
    if shape != (dataset.Rows, dataset.Columns, 1):
        declared = "no size" if shape is None else f"{shape[0]} × {shape[1]} × {shape[2]}"
        raise InputError(
            f"the compressed data of a slice must declare {dataset.Rows} × {dataset.Columns} × 1 pixels, got {declared}"
        )
    precision, signed = _stream_bits(stream)
    return {"precision": precision, "signed_stream": signed}


def stream_shape(stream: bytes) -> tuple[int, int, int] | None:
    """(rows, columns, components) declared by a JPEG, JPEG-LS or JPEG 2000 stream, or None."""
    if (start := _jpeg2000_start(stream)) is not None:
        right, bottom, left, top = struct.unpack_from(">4I", stream, start + 8)
        return bottom - top, right - left, struct.unpack_from(">H", stream, start + 40)[0]
    at = _jpeg_frame(stream)
    return None if at is None else struct.unpack_from(">HHB", stream, at + 5)


def _stream_bits(stream: bytes) -> tuple[int, bool | None]:
    """Bits per pixel, and whether values are signed (None: the format has no sign), of a stream with a shape."""
    if (start := _jpeg2000_start(stream)) is not None:
        return (stream[start + 42] & 0x7F) + 1, bool(stream[start + 42] & 0x80)
    at = _jpeg_frame(stream)
    assert at is not None
    return stream[at + 4], None


def _jpeg2000_start(stream: bytes) -> int | None:
    """Offset of the header of a JPEG 2000 stream, possibly in a JP2 file, or None."""
    start = stream[:1024].find(b"\xff\x4f\xff\x51")
    return start if start >= 0 and len(stream) > start + 42 else None


def _jpeg_frame(stream: bytes) -> int | None:
    """Offset of the frame header of a JPEG or JPEG-LS stream, or None."""
    if not stream.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 10 <= len(stream) and stream[at] == 0xFF:  # skip segments up to the frame header
        marker, length = stream[at + 1], struct.unpack_from(">H", stream, at + 2)[0]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker in FRAME_HEADERS:
            return at
        at += 2 + length
    return None


def padding_mask(dataset, stored: np.ndarray) -> np.ndarray | None:
    """Mask of the padding, bool in the shape of `stored`; None if the header declares no padding.

    Padding is PixelPaddingValue, or the range from PixelPaddingValue to PixelPaddingRangeLimit.
    """
    if (first := dataset.get("PixelPaddingValue")) is None:
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = [_as_stored(value, stored.dtype) for value in (first, first if limit is None else limit)]
    return (stored >= min(ends)) & (stored <= max(ends))


def _as_stored(value, dtype: np.dtype) -> int:
    """A padding value in the dtype of the pixels, because some writers confuse its signed and unsigned form."""
    if isinstance(value, bytes):
        value = int.from_bytes(value[:2], "little")
    return int(np.array(int(value) & 0xFFFF, np.uint16).view(np.int16 if dtype.kind == "i" else np.uint16))
