"""UIDs of the objects. They depend only on the predictor and on the slices that it was applied to.

The same scan and predictor give the same UIDs on every machine, so that an object stored twice is one object in the
PACS.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from pydicom.uid import UID

FORMAT = 1  # part of every UID; increment it when the same prediction gives a different object


class Identifiers:
    """UIDs of one prediction.

    Parameters
    ----------
    checksum : str
        SHA-256 of the predictor.
    instances : iterable of str
        SOPInstanceUIDs of the source, with frame numbers if they are frames of a multi-frame file.
    """

    def __init__(self, checksum: str, instances: Iterable[str]):
        self._key = "/".join(["ildfv", str(FORMAT), checksum, *sorted(instances)])

    def uid(self, *parts) -> UID:
        """The UID of a part, such as ("segmentation", "series"); the 2.25 root takes any 128-bit integer."""
        digest = hashlib.sha256("\n".join([self._key, *map(str, parts)]).encode()).digest()
        return UID(f"2.25.{int.from_bytes(digest[:16], 'big')}")
