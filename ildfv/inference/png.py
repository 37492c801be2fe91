"""Images as PNG: bytes, or a data URI for a page that is one file."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo


def png(image: np.ndarray, description: str = "") -> bytes:
    """A grey or RGB image, uint8 (h, w) or (h, w, 3), as PNG, with a description in its metadata."""
    buffer, text = io.BytesIO(), PngInfo()
    if description:
        text.add_itxt("Description", description)
    Image.fromarray(image).save(buffer, format="PNG", optimize=True, pnginfo=text)
    return buffer.getvalue()


def png_uri(image: np.ndarray) -> str:
    """A grey or RGB image, uint8 (h, w) or (h, w, 3), as a `data:image/png` URI, lossless."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode("ascii")
