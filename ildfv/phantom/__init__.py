"""Synthetic chest CT with known patterns, for demonstrations and tests.

`patient`, `hard` and `difficulty` draw the parameters of anatomy and scanner, `chest`, `body`, `bones` and `tree` the
anatomy, `disease` the regions of the patterns, `textures` their appearance, `mimics` findings that resemble them,
`lungs` their composition, `smoothing` and `scanner` the simulated slice, `dicom_series` and `write` the files. Every
voxel is a function of (seed, patient number, difficulty, height z). Performance on phantoms does not predict
performance on patients.
"""

from ildfv.phantom.write import SLICES_PER_SCAN, write_phantoms

__all__ = ["SLICES_PER_SCAN", "write_phantoms"]
