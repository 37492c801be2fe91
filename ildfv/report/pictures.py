"""CT slices for a page: a PNG as a data URI, and the outlines of its label map as vector paths."""

from __future__ import annotations

import base64
import io

import contourpy
import numpy as np
from PIL import Image


def png_uri(image: np.ndarray) -> str:
    """A greyscale uint8 image (h, w) as a `data:image/png` URI, lossless."""
    buffer = io.BytesIO()
    Image.fromarray(image, mode="L").save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def outlines(labels: np.ndarray, n_patterns: int = 4) -> list[str]:
    """SVG path data around the area of each pattern, in pixels of the image; "" for a pattern that is not there.

    labels: uint8 (h, w), pattern index + 1. Paths run half-way between pixel centres; pixel (y, x) covers the unit
    square at (x, y).
    """
    return [_outline(labels == k + 1) for k in range(n_patterns)]


def _outline(area: np.ndarray) -> str:
    if not area.any():
        return ""
    padded = np.pad(area.astype(float), 1)  # areas at the border close there
    lines = contourpy.contour_generator(z=padded, line_type=contourpy.LineType.Separate).lines(0.5)
    return "".join(_path(np.asarray(line) - 0.5) for line in lines)  # −1 for the padding, +½ for the pixel centre


def _path(points: np.ndarray) -> str:
    """A closed path; points on a straight line between their neighbours are dropped."""
    ring = points[:-1]
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    corner = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) > 1e-9
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in ring[corner]) + "Z"
