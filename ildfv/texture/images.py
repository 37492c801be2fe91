"""Images from files and arrays, as float32 in their original units, because intensities such as HU are meaningful."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ildfv.arrays import to_numpy
from ildfv.errors import InputError, check

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".pgm", ".ppm", ".npy")
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # luminance, ITU-R BT.601, as Pillow converts RGB to grey
REAL = {  # remedy by kind of dtype
    "c": "use its magnitude, np.abs(image)",
    "V": "convert bfloat16 with image.astype(np.float32), or select one field of a structured array",
}
ALPHA = {"LA", "PA", "RGBA", "La", "RGBa"}


@dataclass(frozen=True)
class Picture:
    """One image.

    values: float32, (h, w) or (h, w, 3), finite, in the units of the file. eight_bit: whether the units are the grey
    levels 0 … 255. name: the path, or the position in a list; used in messages.
    """

    values: np.ndarray
    eight_bit: bool
    name: str

    @property
    def grey(self) -> np.ndarray:
        """(h, w): the luminance of an RGB image."""
        return self.values if self.values.ndim == 2 else self.values @ GREY

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, (h, w), in pixels."""
        return self.values.shape[0], self.values.shape[1]

    def digest(self) -> str:
        """SHA-256 of size and values, which is the same for equal images in different file formats."""
        content = np.ascontiguousarray(self.values)
        return hashlib.sha256(repr(content.shape).encode() + content.tobytes()).hexdigest()


def read_image(path: str | Path) -> Picture:
    """The image of a file.

    EXIF rotation is applied, palettes and CMYK become RGB, and a fully opaque alpha channel is discarded.

    Parameters
    ----------
    path : str or Path
        PNG, JPEG, TIFF (8 or 16 bit, float), BMP, GIF, WebP, PGM, PPM, or .npy of shape (h, w), (h, w, 1) or (h, w, 3).

    Returns
    -------
    Picture

    Raises
    ------
    InputError
        The file is missing, corrupt or in another format, or the image is animated, partly transparent or too large,
        has several pages, contains NaN, or has another shape.
    """
    path = Path(path)
    check(
        path.is_file(),
        f"{path} must be an image file, got {'a folder' if path.is_dir() else 'a path that does not exist'}",
    )
    if path.suffix.lower() == ".npy":
        try:
            values = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise InputError(f"{path} must be an array of numbers in NumPy's format: {error}") from error
        return as_picture(values, str(path))
    return as_picture(_decoded(path), str(path))


def as_picture(image: Any, name: str) -> Picture:
    """A `Picture` of an array (h, w), (h, w, 1) or (h, w, 3), of a path, or of a `Picture`.

    The array may be of NumPy, torch or CuPy. Boolean arrays are 8-bit images with the values 0 and 255, as in files
    with one bit per pixel. InputError: another shape or dtype, values that are not finite, or an unreadable file. name:
    used in the message on an array.
    """
    if isinstance(image, Picture):
        return image
    if isinstance(image, str | Path):
        return read_image(image)
    check(not isinstance(image, np.ma.MaskedArray), f"{name} must not be a masked array: fill it, image.filled(value)")
    values = to_numpy(image)
    if values.dtype == bool:
        values = values.astype(np.uint8) * 255
    if values.dtype.kind not in "uif":
        remedy = REAL.get(values.dtype.kind, "convert it, image.astype(np.float32)")
        raise InputError(f"{name} must contain real numbers, got dtype {values.dtype}: {remedy}")
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.size == 0 or not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] == 3)):
        rule = f"{name} must have shape (h, w) or (h, w, 3), got {values.shape}"
        raise InputError(": ".join([rule, *_remedy(values.shape)]))
    kept = np.ascontiguousarray(values, dtype=np.float32)
    if not np.isfinite(kept).all():
        raise InputError(f"{name} must contain finite values, got NaN, infinity or a value beyond the range of float32")
    return Picture(kept, values.dtype == np.uint8, name)


def check_same_units(one: Picture, other: Picture) -> None:
    """InputError if only one of two images is 8-bit. Classes could then be distinguished by the type of their files."""
    if one.eight_bit != other.eight_bit:
        eight, wide = (one, other) if one.eight_bit else (other, one)
        rule = "either all images or none must be 8-bit (uint8), because other types have other units"
        raise InputError(f"{rule}, got {eight.name} with 8 bits and {wide.name} with another type: convert them")


def _remedy(shape: tuple[int, ...]) -> list[str]:
    """What to do with an array of a shape that is not that of an image; empty if this is unknown."""
    if len(shape) == 3 and shape[0] in (1, 3):
        return [
            "image[0] has this shape" if shape[0] == 1 else "move the channels to the end, np.moveaxis(image, 0, 2)"
        ]
    if len(shape) == 3 and shape[2] in (2, 4):
        return [f"remove the last channel if it is alpha, image[..., :{shape[2] - 1}]"]
    return ["use each slice as an image of its own"] if len(shape) > 2 and 0 not in shape else []


def as_pictures(images: Any) -> list[Any]:
    """The images as a list whose items `as_picture` accepts; InputError for a single image or none."""
    check(not isinstance(images, str | Path), f"images must be a list, got the single path {images}: pass [path]")
    shape = tuple(getattr(images, "shape", ()))
    rule = "images must have shape (b, h, w) or (b, h, w, 3)"
    single = len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)  # no backbone can use images of 3 columns
    check(not single, f"{rule}, got {shape}: pass a single image as [image]")
    listed = list(images)
    check(len(listed) > 0, "images must contain at least one image, got none")
    return listed


def _decoded(path: Path) -> np.ndarray:
    """The pixels as decoded by Pillow, (h, w) or (h, w, 3)."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                frames = getattr(image, "n_frames", 1)
                check(frames == 1, f"{path} must be a single image, got {frames} frames or pages: save one per file")
                image.load()
                return _pixels(ImageOps.exif_transpose(image), path)
    except UnidentifiedImageError as error:
        raise InputError(
            f"{path} must be an image that Pillow can read, got a corrupt file or another format"
        ) from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InputError(f"{path} must have fewer pixels: {error}") from error
    except InputError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, TypeError) as error:  # exceptions raised by Pillow's plugins
        raise InputError(f"{path} must be an intact image, got {type(error).__name__}: {error}") from error


def _pixels(image: Any, path: Path) -> np.ndarray:
    transparent = image.mode in ALPHA or "transparency" in image.info
    if transparent:
        least = int(np.asarray(image.convert("RGBA"))[..., 3].min())
        check(least == 255, f"{path} must be opaque, got transparent pixels: flatten it on a background of your choice")
    if image.mode in ("L", "1", "LA", "La"):
        return np.asarray(image.convert("L"))
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        return np.asarray(image)
    return np.asarray(image.convert("RGB"))
