"""Images as PNG: as bytes, or as a data URI for an HTML page without external files."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo


def png(image: np.ndarray, description: str = "") -> bytes:
    """The bytes of a PNG of a grey or RGB image, uint8 (h, w) or (h, w, 3). description: text for its metadata."""
    buffer, text = io.BytesIO(), PngInfo()
    if description:
        text.add_itxt("Description", description)
    Image.fromarray(image).save(buffer, format="PNG", pnginfo=text)
    return buffer.getvalue()


def png_uri(image: np.ndarray) -> str:
    """A grey or RGB image, uint8 (h, w) or (h, w, 3), as a `data:image/png` URI."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode("ascii")
