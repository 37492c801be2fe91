"""Pictures of CT slices: SVG with the outlines of label maps for a page, and PNG files of label maps."""

from __future__ import annotations

import contourpy
import numpy as np
from markupsafe import Markup, escape
from PIL import Image, ImageDraw, ImageFont

from ildfv.inference.png import png, png_uri
from ildfv.patterns import PATTERNS
from ildfv.report.content import LabelMap

COLOURS = ((86, 180, 233), (240, 165, 0), (255, 122, 198), (47, 214, 160))  # as in style.css, --p0 … --p3
TITLES = ("slice", "reference", "predicted")
SCALE, GAP, LINE = 2, 8, 26  # enlargement of the slice; pixels between panels; pixels per line of text
OPACITY = 0.55


def slice_svg(image: np.ndarray, labels: np.ndarray | None, *, label: str) -> Markup:
    """A slice, uint8 (h, w), as SVG, with the coloured areas of its label map (pattern index + 1) if given.

    label: the accessible name.
    """
    h, w = image.shape
    paths = outlines(labels, len(PATTERNS)) if labels is not None else []
    areas = "".join(f'<path class="area p{k}" d="{path}"/>' for k, path in enumerate(paths) if path)
    return Markup(
        f'<svg class="slice" viewBox="0 0 {w} {h}" role="img" aria-label="{escape(label)}">'
        f'<image href="{png_uri(image)}" width="{w}" height="{h}"/>{areas}</svg>'
    )


def outlines(labels: np.ndarray, n_patterns: int = 4) -> list[str]:
    """SVG path data of the outline of each pattern, in pixels of the image; "" for an absent pattern.

    labels: uint8 (h, w), pattern index + 1. Pixel (y, x) covers the unit square at (x, y). The outlines pass half-way
    between pixel centres.
    """
    return [_outline(labels == k + 1) for k in range(n_patterns)]


def _outline(area: np.ndarray) -> str:
    if not area.any():
        return ""
    padded = np.pad(area.astype(float), 1)  # closes outlines at the border
    lines = contourpy.contour_generator(z=padded, line_type=contourpy.LineType.Separate).lines(0.5)
    return "".join(_path(np.asarray(line) - 0.5) for line in lines)  # −1 for the padding, +½ for the pixel centre


def _path(points: np.ndarray) -> str:
    """A closed SVG path. Points on a straight line between their neighbours are omitted."""
    ring = points[:-1]
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    corner = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) > 1e-9
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in ring[corner]) + "Z"


def label_map_png(label_map: LabelMap, *, mark: str = "") -> bytes:
    """A PNG of the slice, the reference label map and the predicted label map, in a row, with titles and a legend.

    mark: text printed in the top right corner, such as the kind of data.
    """
    h, w = label_map.image.shape
    maps = np.zeros_like(label_map.truth), label_map.truth, label_map.predicted
    panels = [_tinted(label_map.image, labels) for labels in maps]
    step = w * SCALE + GAP
    sheet = Image.new("RGB", (3 * step - GAP, h * SCALE + 3 * LINE), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=15)
    draw.text((4, 4), label_map.caption, "black", font)
    draw.text((sheet.width - 4, 4), mark, (138, 90, 0), font, anchor="ra")
    for i, (title, panel) in enumerate(zip(TITLES, panels, strict=True)):
        draw.text((i * step + 4, LINE + 4), title, "black", font)
        large = Image.fromarray(panel).resize((w * SCALE, h * SCALE), Image.Resampling.NEAREST)
        sheet.paste(large, (i * step, 2 * LINE))
    x, y = 4, h * SCALE + 2 * LINE
    for pattern, colour in zip(PATTERNS, COLOURS, strict=True):
        draw.rectangle((x, y + 7, x + 12, y + 19), colour)
        draw.text((x + 18, y + 4), pattern, "black", font)
        x += 42 + int(draw.textlength(pattern, font))
    return png(np.asarray(sheet))


def _tinted(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The slice (h, w) with coloured patterns, uint8 (h, w, 3)."""
    grey = np.repeat(image[..., None], 3, axis=2).astype(float)
    colours = np.array([(0, 0, 0), *COLOURS], dtype=float)[labels]  # (h, w, 3)
    share = np.where(labels > 0, OPACITY, 0.0)[..., None]
    return np.round(grey * (1 - share) + colours * share).astype(np.uint8)
