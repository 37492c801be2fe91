"""Texture classification of images of any kind: images → descriptors → Fisher vectors → classes."""

from ildfv.texture.classifier import TextureClassifier
from ildfv.texture.encoder import TextureEncoder
from ildfv.texture.features import texture_features
from ildfv.texture.images import read_image

__all__ = ["TextureClassifier", "TextureEncoder", "read_image", "texture_features"]
