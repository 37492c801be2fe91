"""Stored pixel values of DICOM slices, compressed or not, by decoders named here: none of them under the GPL."""

from __future__ import annotations

import numpy as np

from ildfv.errors import InputError, MissingPackageError
from ildfv.scans.libraries import said

NATIVE = ("pydicom", None)
OPENJPEG = ("pylibjpeg", "pylibjpeg-openjpeg")
CHARLS = ("pyjpegls", "pyjpegls")
GDCM = ("gdcm", "python-gdcm")

# Transfer syntax: its name, pydicom's plugin for it, the package that brings the plugin.
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
UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")


def stored_values(dataset, index: int = 0) -> np.ndarray:
    """The stored values of one frame, int16 or uint16 (rows, columns).

    Raises `InputError` where they cannot be decoded, `MissingPackageError` naming the package that could.
    """
    from pydicom.pixels import get_decoder

    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax not in DECODERS:
        raise InputError(f"transfer syntax must be one that CT is stored in, got {syntax.name}")
    name, plugin, package = DECODERS[syntax]
    decoder = get_decoder(syntax)
    options = {}
    if syntax not in UNCOMPRESSED:
        if plugin not in decoder.available_plugins:
            raise MissingPackageError(f"{name} needs {package}: pip install {package}")
        options["decoding_plugin"] = plugin  # by name: never whatever else happens to be installed
    try:
        values, _ = decoder.as_array(dataset, index=index, **options)
    except Exception as error:  # each library fails on a broken stream in its own way
        raise InputError(f"pixels must be decodable ({name}), got {said(error)}") from error
    if values.shape != (dataset.Rows, dataset.Columns):
        raise InputError(f"pixels must have shape {(dataset.Rows, dataset.Columns)}, got {values.shape}")
    return values


def padding_mask(dataset, stored: np.ndarray) -> np.ndarray | None:
    """Where the header declares padding: PixelPaddingValue, or the range from it to PixelPaddingRangeLimit."""
    if (first := dataset.get("PixelPaddingValue")) is None:
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = [_as_stored(value, stored.dtype) for value in (first, first if limit is None else limit)]
    return (stored >= min(ends)) & (stored <= max(ends))


def _as_stored(value, dtype: np.dtype) -> int:
    """A padding value in the pixels' own type: writers mix up its signed and unsigned form."""
    if isinstance(value, bytes):
        value = int.from_bytes(value[:2], "little")
    return int(np.array(int(value) & 0xFFFF, np.uint16).view(np.int16 if dtype.kind == "i" else np.uint16))
