"""Descriptors of images: maps of layers at several scales, with a common range of intensities."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from ildfv.errors import InputError, check, check_number
from ildfv.texture.backbones import Backbone, Joined, backbone_of, layers_of, parts_of, resolved
from ildfv.texture.images import Picture, as_picture, as_pictures, check_same_units

TAILS = (0.1, 99.9)  # percentiles that determine the range, so that outliers such as metal have no influence

SMALL = 128  # pixels along a side; a network has few locations in smaller images
Maps = dict[str, list[np.ndarray]]  # layer → maps (d, h, w), one per scale
Scales = dict[str, tuple[float, ...]]  # name of a part of the backbone → its scales
EIGHT_BIT = (0.0, 255.0)  # range of 8-bit images


@dataclass(frozen=True)
class Range:
    """The intensities that are mapped to 0 and 1. Values outside are not clipped: they are still informative."""

    low: float
    high: float

    def of(self, picture: Picture) -> np.ndarray:
        """The values of an image in this range, float32.

        InputError: the range is that of 8-bit images, but the image is not 8-bit. Its values may have another unit,
        which cannot be recognised from the values.
        """
        if (self.low, self.high) == EIGHT_BIT and not picture.eight_bit:
            rule = f"{picture.name} must be an 8-bit image (uint8), like all images that the model was fitted on"
            raise InputError(f"{rule}, got another type: convert it, or fit a model on images of its type")
        return (picture.values - np.float32(self.low)) / np.float32(self.high - self.low)


def common_range(pictures: Iterable[Picture]) -> Range:
    """The range of `range_and_sides`."""
    return range_and_sides(pictures)[0]


def range_and_sides(pictures: Iterable[Picture]) -> tuple[Range, list[int]]:
    """The common range of intensities, and the smaller side of each image in pixels.

    The range is 0 … 255 if all images are 8-bit, otherwise from the smallest to the largest of the images' percentiles
    TAILS.

    InputError: only some images are 8-bit. The others may have another unit.
    """
    low, high, first, sides = np.inf, -np.inf, None, []
    for picture in pictures:
        sides.append(min(picture.shape))
        a, b = np.percentile(picture.values, TAILS)
        low, high, first = min(low, float(a)), max(high, float(b)), first or picture
        check_same_units(first, picture)
    if first is not None and first.eight_bit:
        return Range(*EIGHT_BIT), sides
    return Range(low, high if high > low else low + 1.0), sides


def scales_of(scales: str | Sequence[float], backbone: Backbone | Joined, sides: Sequence[int]) -> Scales:
    """The scales of each part of the backbone, by its name.

    sides: the smaller side of each image in pixels, on which "auto" depends.

    InputError unless there is at least one scale and all are in (0, 4].
    """
    if isinstance(scales, str):
        check(scales == "auto", f'scales must be numbers or "auto", got "{scales}"')
        small = float(np.median(sides)) < SMALL
        return {part.name: part.scales(small) for part in parts_of(backbone)}
    check(len(scales) > 0, "scales must contain at least one number, got none")
    given = tuple(check_number(s, "scales", "in (0, 4]", lambda s: 0 < s <= 4) for s in scales)
    return {part.name: given for part in parts_of(backbone)}


def maps_of(
    picture: Picture, values: np.ndarray, backbone: Backbone | Joined, layers: tuple[str, ...], scales: Scales
) -> Maps:
    """For each layer, the maps (d, h, w) at each scale. Scales at which the image is too small are omitted.

    If the image is too small for a part of the backbone at all scales, an InputError names it.
    """
    found: Maps = {layer: [] for layer in layers}
    for part in parts_of(backbone):
        own = tuple(layer for layer in layers if layer in part.layers)
        for scale in scales[part.name] if own else ():
            scaled = _scaled(values, scale)
            if min(scaled.shape[:2]) >= part.least:
                for layer, maps in part.maps(scaled, own).items():
                    found[layer].append(maps)
        if not all(found[layer] for layer in own):
            h, w = picture.shape
            scale = max(scales[part.name])
            least = math.ceil(part.least / scale)
            remedy = "choose a larger scale" + ("" if part.name == "filters" else ", or the backbone filters")
            raise InputError(
                f"{picture.name} must have at least {least}×{least} pixels for {part.name} at scale {scale:g}, got "
                f"{h}×{w}: {remedy}"
            )
    return found


def rows_of(maps: list[np.ndarray]) -> np.ndarray:
    """The descriptors (n, d) of a layer at all scales."""
    return np.concatenate([one.reshape(len(one), -1).T for one in maps])


def texture_features(
    images: Any,
    *,
    backbone: str = "auto",
    layers: str | Sequence[str] = "auto",
    scales: str | Sequence[float] = "auto",
) -> dict[str, list[np.ndarray]]:
    """Descriptors of images, for `LayerUnion` or any encoder.

    Parameters
    ----------
    images : list of paths or arrays (h, w) or (h, w, 3), or array (b, h, w) or (b, h, w, 3)
        Images of any size.
    backbone : str
    layers : str or list of str
    scales : "auto" or sequence of float
        As for `TextureEncoder`.

    Returns
    -------
    dict of str to list of ndarray of shape (n_i, d), float32
        For each layer, the descriptors of each image.

    Raises
    ------
    InputError
        A setting is invalid, only some images are 8-bit, or an image cannot be used. The message on an image names it.
    """
    if backbone != "auto":
        layers_of(backbone_of(backbone), layers)  # checked before images are read
    pictures = [as_picture(one, f"images[{i}]") for i, one in enumerate(as_pictures(images))]
    span, sides = range_and_sides(pictures)
    network = backbone_of(resolved(backbone, min(sides)))
    names, factors = layers_of(network, layers), scales_of(scales, network, sides)
    found: dict[str, list[np.ndarray]] = {layer: [] for layer in names}
    for picture in pictures:
        for layer, maps in maps_of(picture, span.of(picture), network, names, factors).items():
            found[layer].append(rows_of(maps))
    return found


def _scaled(values: np.ndarray, scale: float) -> np.ndarray:
    """The image resized by linear interpolation; it is smoothed first if it is made smaller."""
    if scale == 1:
        return values
    if scale < 1:
        sigma = 0.5 * np.sqrt(scale**-2 - 1)  # the blur that prevents aliasing at the lower resolution
        values = gaussian_filter(values, (sigma, sigma, 0) if values.ndim == 3 else sigma, mode="nearest")
    factors = (scale, scale, 1) if values.ndim == 3 else scale
    resized: np.ndarray = zoom(values, factors, order=1, mode="nearest", grid_mode=True)
    return resized
