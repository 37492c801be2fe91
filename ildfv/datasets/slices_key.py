"""The key of a folder of slices: what all of its parts were made with."""

from __future__ import annotations

from ildfv.datasets.identity import hashed
from ildfv.scans.windows import SIZE, WINDOWS
from ildfv.store.atomic import key_of

FORMAT = 1  # counts up when the same scan would give other bytes


def slices_key(salt: str) -> str:
    """The key of slices whose identities were hashed with this salt, as this version of ildfv makes them."""
    return key_of("slices", FORMAT, SIZE, WINDOWS, hashed("salt", salt))
