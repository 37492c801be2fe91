"""Names of scans that do not contain identifiers of the patient.

This is a separate module because importing `predict` imports every estimator.
"""

from __future__ import annotations

import hashlib

from ildfv.datasets.records import Scan

DIGITS = 10


def pseudonym(scan: Scan) -> str:
    """A name for the scan that does not contain its identifiers and is the same in every prediction for the scan."""
    return "scan-" + hashlib.sha256(scan.series.encode()).hexdigest()[:DIGITS]
