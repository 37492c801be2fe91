"""Predictions for slices and scans, and maps that show where in the image the evidence is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ildfv.inference.predictor import Predictor

__all__ = ["Predictor"]


def __getattr__(name: str):
    # On first use, because the schema and the contributions are imported without everything that a prediction needs.
    if name == "Predictor":
        from ildfv.inference.predictor import Predictor

        return Predictor
    raise AttributeError(f"module 'ildfv.inference' has no attribute {name!r}")
