"""Synthetic chest CT with known patterns, for demonstrations and tests.

`patient` holds the anatomy and scanner parameters, `chest` and `tree` the anatomy, `disease` the regions of the
patterns, `textures` their appearance, `scanner` the simulated slice, `dicom_series` and `write` the files. Every voxel
is a function of (seed, patient number, height z). Performance on phantoms does not predict performance on patients.
"""

from ildfv.phantom.write import SLICES_PER_SCAN, write_phantoms

__all__ = ["SLICES_PER_SCAN", "write_phantoms"]
