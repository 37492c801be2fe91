"""Folders of many DICOM scans with label maps, copied from a few phantoms. Each copy has its own identity and noise.

Copies of one phantom have equal anatomy, label map and geometry. Their UIDs and patients differ, and so do their
pixels: noise with a standard deviation of NOISE HU is added, so that no two copies have equal slices, which `ildfv
prepare` would report as duplicates. Four scans in a row belong to one patient.
"""

from __future__ import annotations

import shutil
from functools import cached_property
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import UID

NOISE = 4.0  # HU
PLANES = 8  # planes of noise; each slice uses one of them, shifted at random
SCANS = 4  # per patient
PHANTOMS, EACH = 4, 100  # different phantoms, and slices per scan


class Copies:
    """Scan number n = 0, 1, … is a copy of phantom n mod PHANTOMS. The phantoms are drawn once, in `sources`."""

    def __init__(self, sources: Path, each: int = EACH):
        from ildfv.phantom.write import write_phantoms

        self.sources, self.each = sources, each
        self.folders = write_phantoms(sources, patients=PHANTOMS, seed=11, slices_per_scan=each)

    def write(self, folder: Path, scans: range) -> None:
        """Writes these scans and the table of label codes. The folder has a temporary name until it is complete."""
        if folder.exists():
            return
        unfinished = folder.with_name(f".{folder.name}.tmp")
        shutil.rmtree(unfinished, ignore_errors=True)
        for scan in scans:
            self._write_scan(unfinished / f"patient-{scan // SCANS:06d}" / f"scan-{scan:06d}", scan)
        shutil.copy(self.sources / "codes.toml", unfinished)
        unfinished.rename(folder)

    def _write_scan(self, folder: Path, scan: int) -> None:
        random, number = np.random.default_rng([1, scan]), scan % PHANTOMS
        (folder / "ct").mkdir(parents=True)
        for index, (slice_, stored) in enumerate(self._phantoms[number]):
            slice_.PatientID = slice_.PatientName = f"PHANTOM-COPY-{scan // SCANS:06d}"
            slice_.StudyInstanceUID, slice_.SeriesInstanceUID = _uid(scan, 1), _uid(scan, 2)
            slice_.FrameOfReferenceUID = _uid(scan, 3)
            slice_.SOPInstanceUID = slice_.file_meta.MediaStorageSOPInstanceUID = _uid(scan, 4 + index)
            plane = np.roll(self._noise[random.integers(PLANES)].reshape(-1), random.integers(stored.size))
            slice_.PixelData = (stored + plane.reshape(stored.shape)).astype(stored.dtype).tobytes()
            slice_.save_as(folder / "ct" / f"{index:04d}.dcm", enforce_file_format=True)
        shutil.copy(self.folders[number] / "labels.nii.gz", folder)

    @cached_property
    def _phantoms(self) -> list[list[tuple[pydicom.Dataset, np.ndarray]]]:
        """The slices of each phantom and their stored pixels, limited so that noise does not exceed the bits stored."""
        return [[_margin(pydicom.dcmread(file)) for file in sorted((f / "ct").iterdir())] for f in self.folders]

    @cached_property
    def _noise(self) -> np.ndarray:
        shape = self._phantoms[0][0][1].shape
        return np.random.default_rng(0).normal(0, NOISE, (PLANES, *shape)).round().astype(np.int16)


def _margin(slice_: pydicom.Dataset) -> tuple[pydicom.Dataset, np.ndarray]:
    stored, margin = slice_.pixel_array, int(6 * NOISE)
    signed, bits = int(slice_.PixelRepresentation), int(slice_.BitsStored)
    least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return slice_, np.clip(stored, least + margin, most - margin)


def _uid(scan: int, number: int) -> UID:
    return UID(f"2.25.{(1 << 96) + (scan << 32) + number}")
