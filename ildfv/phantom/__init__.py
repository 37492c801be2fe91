"""Phantom chest CT: drawn scans with known patterns, for trying and testing everything that comes after.

patient, hard, difficulty → who is scanned and how; chest, tree → anatomy; disease → where patterns are; textures → how
they look; mimics → what resembles them; smoothing, scanner → a slice; dicom_series, write → files. Everything is a
function of (seed, patient number, difficulty, height z).
No score on phantoms says anything about patients.
"""

from ildfv.phantom.write import SLICES_PER_SCAN, write_phantoms

__all__ = ["SLICES_PER_SCAN", "write_phantoms"]
