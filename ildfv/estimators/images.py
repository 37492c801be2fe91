"""The rule that refuses images where estimators expect maps or descriptors."""

from __future__ import annotations

from typing import Any

from ildfv.arrays import dtype_name, is_array
from ildfv.errors import check
from ildfv.weighted import split

PIXELS = ("bool", "uint8", "int8", "uint16", "int16")  # dtypes of masks, photographs and CT slices
CHANNELS = (1, 3, 4)  # of grey, RGB and RGBA images
SMALLEST = 8  # pixels along each side of an image with channels last; maps of a network may be 7×4
IF_IMAGES = "if X contains images, use ildfv.texture.texture_features"  # remedy for wrong numbers of features


def check_not_images(maps: Any, name: str) -> None:
    """Raises InputError for an array or a list of images, and for an empty list. The rule is `check_not_image`."""
    if not isinstance(maps, (list, tuple)):
        check_not_image(maps, name)
        return
    check(len(maps) > 0, f"{name} must contain at least one map, got none")
    for i, one in enumerate(maps):
        check_not_image(one, f"{name}[{i}]", listed=True)


def check_not_image(maps: Any, name: str, *, listed: bool = False) -> None:
    """Raises InputError for arrays of bool or of integers of 8 or 16 bits whose shape is that of images.

    Such an array must be a map (b, d, h, w), or (d, h, w) if it is an item of a list (`listed`). If w is 1, 3 or 4,
    d or h must be below SMALLEST, because the last axis may otherwise be the channels of an image. Rows (m, d) that
    are not listed pass. Floats and integers of 32 or 64 bits pass, because nothing distinguishes descriptors (b, n,
    d) from images (b, h, w).
    """
    maps, _ = split(maps)
    if not is_array(maps) or dtype_name(maps) not in PIXELS:
        return
    shape = tuple(maps.shape)
    axes = 3 if listed else 4  # of maps
    grey = len(shape) == axes - 1
    colour = len(shape) >= axes and shape[-1] in CHANNELS and min(shape[-3:-1]) >= SMALLEST
    check(
        not (grey or colour),
        f"{name} must not be {dtype_name(maps)} of shape {shape}, which may be {'grey' if grey else 'colour'} images: "
        "use ildfv.texture.texture_features or TextureEncoder for images, or convert descriptors (b, n, d) and maps "
        "(b, d, h, w) to float32",
    )
