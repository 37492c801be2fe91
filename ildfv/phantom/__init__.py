"""Synthetic chest CT with known patterns, for demonstrations and tests.

`patient`, `hard` and `difficulty` draw the parameters of a patient and a scanner at random. `chest`, `body`, `bones`
and `tree` define the anatomy; `disease` and `textures` define the regions of the patterns and their textures; `mimics`
adds findings that resemble patterns. `lungs` combines all of these inside the lungs, `scanner` simulates the CT slice,
and `dicom_series` and `write` write the files. Every voxel is a function of (seed, patient number, difficulty, height
z). Performance on phantoms does not predict performance on patients.
"""

from ildfv.phantom.write import SLICES_PER_SCAN, write_phantoms

__all__ = ["SLICES_PER_SCAN", "write_phantoms"]
