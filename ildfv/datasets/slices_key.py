"""The key of a slice store: the settings that all its parts were made with."""

from __future__ import annotations

from ildfv.datasets.identity import hashed
from ildfv.scans.windows import SIZE, WINDOWS
from ildfv.store.atomic import key_of

FORMAT = 1  # to be incremented when the same scan gives different bytes


def slices_key(salt: str) -> str:
    """The key of slices that are prepared by this version of ildfv with this salt."""
    return key_of("slices", FORMAT, SIZE, WINDOWS, hashed("salt", salt))
