"""Reads the label maps of a scan, translates their values to meanings (`MEANINGS`) and combines them."""

from __future__ import annotations

import numpy as np

from ildfv.datasets.records import Label, Scan
from ildfv.errors import InputError
from ildfv.scans.contours import read_contours
from ildfv.scans.dicom import Series
from ildfv.scans.geometry import Geometry
from ildfv.scans.itksnap import translate
from ildfv.scans.labels import MEANINGS, OUTSIDE, Codes, label_integers
from ildfv.scans.overlay import Overlay
from ildfv.scans.region_text import read_regions
from ildfv.scans.segmentation import read_segmentation
from ildfv.scans.slicer import read_slicer
from ildfv.scans.volumefiles import read_label_file


def read_labels(scan: Scan, grid: Geometry, codes: Codes) -> np.ndarray:
    """Index into `MEANINGS` of each voxel of the scan, uint8 (z, y, x), from all its label maps.

    Raises `InputError` if a label map cannot be read or translated, or if two contradict each other (`Overlay`).
    """
    read = [_read(label, grid, codes, scan.dicom) for label in scan.labels]
    if len(read) == 1:
        return read[0]
    overlay = Overlay(grid.shape, codes)
    for label, meanings in zip(scan.labels, read, strict=True):
        for z, slice_ in enumerate(meanings):
            overlay.add(z, slice_, f"label map {label.path.name}")
    return overlay.meanings


def _read(label: Label, grid: Geometry, codes: Codes, series: Series | None) -> np.ndarray:
    """The label map as indices into `MEANINGS`, uint8 (z, y, x). An error names the file."""
    try:
        if label.kind == "dicom":
            return read_segmentation(label.path, grid, codes, label.frames)
        if label.kind == "contours":
            return read_contours(label.path, grid, codes)
        if label.kind == "regions":
            assert series is not None  # `set_layouts` lists text files only for DICOM series
            return read_regions(label.path, grid, series, codes)
        if label.segments:
            return read_slicer(label.path, grid, codes)
        values = read_label_file(label.path, label.kind)
        if values.shape != grid.shape:  # pairing compared the headers, but files may have changed since then
            raise InputError(f"must have shape {grid.shape}, got {values.shape}")
        if label.structure:
            return _structure(values, label.structure, codes)
        return translate(values, dict(label.names), codes) if label.names else codes.translate(values)
    except InputError as error:
        raise InputError(f"label map {label.path.name}: {error}") from error


def _structure(values: np.ndarray, name: str, codes: Codes) -> np.ndarray:
    """The label map of a mask: nonzero voxels have the meaning of the structure, others are "outside"."""
    inside = label_integers(values)
    found = np.unique(inside[inside != 0])
    if len(found) > 1:
        shown = ", ".join(map(str, found[:5]))
        rule = f"a mask named {name!r} must have one value other than 0"
        raise InputError(f"{rule}, got {shown}: rename the file if its values are codes")
    meaning = MEANINGS.index(codes.segment_meaning(name))
    return np.where(inside != 0, meaning, MEANINGS.index(OUTSIDE)).astype(np.uint8)
