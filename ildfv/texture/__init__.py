"""Texture classification of images of any kind: images → descriptors → Fisher vectors → classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ildfv.texture.classifier import TextureClassifier
    from ildfv.texture.encoder import TextureEncoder
    from ildfv.texture.features import texture_features
    from ildfv.texture.images import read_image

__all__ = ["TextureClassifier", "TextureEncoder", "read_image", "texture_features"]

_MODULES = {
    "TextureClassifier": "classifier",
    "TextureEncoder": "encoder",
    "read_image": "images",
    "texture_features": "features",
}


def __getattr__(name: str):
    # On first use, so that the commands can check their paths before scikit-learn is imported.
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(f"ildfv.texture.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'ildfv.texture' has no attribute {name!r}")
