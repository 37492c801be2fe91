"""Names of scans that do not contain identifiers of the patient.

This is a separate module because importing `predict` imports every estimator.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from ildfv.datasets.records import Scan

DIGITS = 10


def pseudonym(scan: Scan) -> str:
    """A name for the scan that does not contain its identifiers and is the same in every prediction for the scan.

    It is a hash of the SeriesInstanceUID of a DICOM series, or of the content of other files: different patients have
    files of the same name, and a file may be replaced or moved.
    """
    if scan.dicom is not None:
        digest = hashlib.sha256(scan.series.encode()).hexdigest()
    else:
        digest = _digest(tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in scan.files))
    return f"scan-{digest[:DIGITS]}"


@lru_cache(maxsize=256)
def _digest(files: tuple[tuple[Path, int, int], ...]) -> str:
    """SHA-256 of the content of (path, size, time of the last change) of each file, as hexadecimal digits."""
    digests = b""
    for path, _, _ in files:
        with path.open("rb") as file:
            digests += hashlib.file_digest(file, "sha256").digest()
    return hashlib.sha256(digests).hexdigest()
