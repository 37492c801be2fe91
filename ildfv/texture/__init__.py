"""Texture classification of images of any kind: images → descriptors → Fisher vectors → classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ildfv.lazy import imported

if TYPE_CHECKING:
    from ildfv.texture.classifier import TextureClassifier
    from ildfv.texture.encoder import TextureEncoder
    from ildfv.texture.features import texture_features
    from ildfv.texture.images import read_image

__all__ = ["TextureClassifier", "TextureEncoder", "read_image", "texture_features"]

_MODULE_OF = {
    "TextureClassifier": "ildfv.texture.classifier",
    "TextureEncoder": "ildfv.texture.encoder",
    "read_image": "ildfv.texture.images",
    "texture_features": "ildfv.texture.features",
}


def __getattr__(name: str) -> Any:
    # Names are imported on first use, so that a command with a wrong path does not wait for scikit-learn.
    return imported(__name__, _MODULE_OF, name)


def __dir__() -> list[str]:
    return sorted(__all__)
