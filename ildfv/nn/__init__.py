"""Torch layers on the kernels of ildfv."""

from ildfv.nn.fisher import FisherVector2d

__all__ = ["FisherVector2d"]
