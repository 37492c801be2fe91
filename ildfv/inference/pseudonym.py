"""Names of scans that do not contain their identifiers. Not in `predict`, because that imports every estimator."""

from __future__ import annotations

import hashlib

from ildfv.datasets.records import Scan

DIGITS = 10


def pseudonym(scan: Scan) -> str:
    """A name for the scan that does not contain its identifiers, the same for every prediction of it."""
    return "scan-" + hashlib.sha256(scan.series.encode()).hexdigest()[:DIGITS]
