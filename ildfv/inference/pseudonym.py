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
    """A name for the scan that contains no identifiers and is the same in every prediction for the scan.

    It contains a hash of the SeriesInstanceUID of a DICOM series, or of the content of other files. It does not depend
    on their names, because different patients may have files of the same name.
    """
    if scan.dicom is not None:
        return pseudonym_of_series(scan.series)
    digest = _digest(tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in scan.files))
    return f"scan-{digest[:DIGITS]}"


def pseudonym_of_series(uid: str) -> str:
    """The name of a DICOM series, even if it cannot be read as a scan."""
    return f"scan-{hashlib.sha256(uid.encode()).hexdigest()[:DIGITS]}"


@lru_cache(maxsize=256)
def _digest(files: tuple[tuple[Path, int, int], ...]) -> str:
    """SHA-256 of the content of (path, size, time of the last change) of each file, as hexadecimal digits."""
    digests = b""
    for path, _, _ in files:
        with path.open("rb") as file:
            digests += hashlib.file_digest(file, "sha256").digest()
    return hashlib.sha256(digests).hexdigest()
