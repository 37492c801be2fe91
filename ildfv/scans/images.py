"""Slices as grey images (PNG, JPEG, TIFF). A linear window maps their grey levels to Hounsfield units.

An image has neither HU nor a pixel size. The user states the HU of the smallest and of the largest grey level, which
are the limits of the display window at export; the pixel size is assumed. A 16-bit image whose values are HU + 1024
has the window −1024, 64511.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ildfv.errors import InputError, check
from ildfv.scans.geometry import AXES, Geometry
from ildfv.scans.grey import FIELD, Grey
from ildfv.scans.volume import Volume, as_hounsfield, canonical_volume, check_size

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "TIFF")
MIN_SIDE = 64  # pixels; smaller images are icons or show too little of the texture of a lung
MAX_ASPECT = 4  # ratio of the longer to the shorter side; images cropped to the lungs reach 2
JPEG_COLOUR = 3  # grey levels; rounding may change the channels of a grey JPEG saved as colour by this much
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT, ORIENTATION = 258, 262, 339, 274  # TIFF tags
LIMITS = {"uint8": (0, 255), "uint16": (0, 65535), "int16": (-32768, 32767)}


def is_image(path: Path) -> bool:
    """Whether the file name has the suffix of an image format."""
    return path.name.lower().endswith(SUFFIXES)


def image_geometry(path: Path, field: float = FIELD) -> Geometry:
    """The assumed grid of an image: one slice, `field` mm along its longer side. Only the header is read.

    Raises `InputError` if the image is not readable, too small or too elongated.
    """
    with _opened(path) as image:
        width, height = image.size
    check_size((1, height, width))
    check(
        min(width, height) >= MIN_SIDE and max(width, height) <= MAX_ASPECT * min(width, height),
        f"an image of a slice must have at least {MIN_SIDE} pixels per side and an aspect ratio of at most "
        f"{MAX_ASPECT}, got {width}×{height}: remove icons and parts of slices",
    )
    pixel = field / max(width, height)
    return Geometry((1, height, width), np.zeros(3), AXES * np.array([1.0, pixel, pixel])[:, None])


def read_image(path: Path, grey: Grey, *, patient_id: str, series_id: str) -> Volume:
    """The image as a scan of one slice in Hounsfield units.

    Raises
    ------
    InputError
        Not a readable grey image of 8 or 16 bits, an image that `image_geometry` refuses, or values that cannot be HU
        of a chest with these grey levels.
    """
    values, grid = grey_values(path), image_geometry(path, grey.field)
    least, most = LIMITS[str(values.dtype)]
    slope = (grey.high - grey.low) / (most - least)
    hu = as_hounsfield(values, slope, grey.low - least * slope)
    try:
        return canonical_volume(hu[None], grid, patient_id, series_id, path)
    except InputError as error:
        raise InputError(f"{error}; check that {grey.option} is the window of the image") from error


def mask_values(path: Path) -> np.ndarray:
    """The pixels of a mask image that are not 0, bool (rows, columns)."""
    return grey_values(path) != 0


def bits_of(path: Path) -> int:
    """Bits of a grey level, 8 or 16."""
    with _opened(path) as image:
        return 8 if image.mode in ("L", "P", "RGB", "1") else 16


def grey_values(path: Path) -> np.ndarray:
    """The grey levels (rows, columns), uint8, uint16 or int16.

    Raises `InputError` if the file is damaged or too large, or does not contain a single upright grey image (colour
    channels must be equal) of 8 or 16 bits without an alpha channel.
    """
    with _opened(path) as image:
        check_size((1, image.height, image.width))
        try:
            return _levels(image)
        except InputError:
            raise
        except (OSError, SyntaxError, ValueError) as error:  # damaged pixels or Exif data
            raise InputError(f"an image must be intact: {error}") from error


def _levels(image: Image.Image) -> np.ndarray:
    """The grey levels of an open image. Raises `InputError` if it is not a grey image of 8 or 16 bits."""
    rule = "an image must be grey, with 8 or 16 bits and no alpha channel"
    frames = getattr(image, "n_frames", 1)
    check(frames == 1, f"an image must have one frame, got {frames} frames")
    transparent = image.mode in ("LA", "RGBA", "PA", "La", "RGBa") or "transparency" in image.info
    check(not transparent, f"{rule}, got an alpha channel: export the image without it")
    turned = image.getexif().get(ORIENTATION, 1)
    check(turned == 1, f"an image must be stored upright, got Exif orientation {turned}: rotate its pixels")
    kind = _kind(image)
    if kind is None:
        raise InputError(f"{rule}, got mode {image.mode}")
    return _equal_channels(image, rule) if image.mode in ("RGB", "P") else np.asarray(image).astype(kind)


def _kind(image: Image.Image) -> str | None:
    """The dtype of the grey levels, from the mode and, for 16 bits, from the header; None if it is not supported."""
    if image.mode in ("L", "P", "RGB"):
        return "uint8"
    if image.format == "PNG":
        return "uint16" if image.mode in ("I;16", "I;16B", "I") else None
    tags = getattr(image, "tag_v2", {})
    bits, inverted = tags.get(BITS_PER_SAMPLE, (0,)), tags.get(PHOTOMETRIC) == 0
    if tuple(np.atleast_1d(bits)) != (16,) or inverted or image.mode not in ("I;16", "I;16B", "I;16S", "I"):
        return None
    signed = int(np.atleast_1d(tags.get(SAMPLE_FORMAT, 1))[0])
    return {1: "uint16", 2: "int16"}.get(signed)


def _equal_channels(image: Image.Image, rule: str) -> np.ndarray:
    """One channel of a colour image whose channels are equal."""
    channels = np.asarray(image.convert("RGB")).astype(np.int16)
    apart = int(np.ptp(channels, axis=2).max())
    allowed = JPEG_COLOUR if image.format in ("JPEG", "MPO") else 0
    check(apart <= allowed, f"{rule}, got colours whose channels differ by up to {apart}")
    return channels[:, :, 1].astype(np.uint8)  # green has the largest weight in luminance


def _opened(path: Path) -> Image.Image:
    """The open image. Raises `InputError` if it is not a readable image."""
    try:
        return Image.open(path, formats=FORMATS)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"an image must be a readable PNG, JPEG or TIFF: {error}") from error
