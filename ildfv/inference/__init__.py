"""Predictions for slices and scans, and maps that show where in the image the evidence is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ildfv.lazy import imported

if TYPE_CHECKING:
    from ildfv.inference.predictor import Predictor

__all__ = ["Predictor"]


_MODULE_OF = {"Predictor": "ildfv.inference.predictor"}


def __getattr__(name: str) -> Any:
    # Imported on first use, because other modules of this package do not need everything that a predictor needs.
    return imported(__name__, _MODULE_OF, name)
