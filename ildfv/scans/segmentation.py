"""DICOM SEG label maps, placed on the grid of the segmented scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ildfv.errors import InputError
from ildfv.scans.geometry import Geometry, checked, difference, reordered, to_canonical
from ildfv.scans.labels import MEANINGS, OUTSIDE, Codes
from ildfv.scans.libraries import format_error


def read_segmentation(path: Path, scan: Geometry, codes: Codes) -> np.ndarray:
    """Index into `MEANINGS` of each voxel of the scan, uint8 (z, y, x); "outside" where there is no segment.

    The SegmentLabel gives the meaning of a segment: it is a meaning itself or listed in [segments] of the codes. Each
    frame must coincide with a slice of the scan; empty frames may be omitted. Raises `InputError` for fractional
    segments, for other frames, and where segments of different meaning overlap.
    """
    from highdicom.seg import segread

    try:
        seg = segread(path)
        kind = str(seg.SegmentationType)
        if kind not in ("BINARY", "LABELMAP"):
            raise InputError(f"SegmentationType must be BINARY or LABELMAP, got {kind}")
        labels = {int(item.SegmentNumber): str(item.SegmentLabel) for item in seg.SegmentSequence}
        frames = list(zip(_planes(seg), _segments(seg, kind), strict=True))
        meanings = np.full(scan.shape, MEANINGS.index(OUTSIDE), np.uint8)
        labelled = np.zeros(scan.shape, bool)
        for i, ((position, row, column, spacing), number) in enumerate(frames):
            pixels = np.asarray(seg.get_stored_frame(i + 1))  # (rows, columns)
            z, pixels = _placed(scan, pixels, position, row, column, spacing)
            for value in np.unique(pixels[pixels != 0]):
                segment = number if kind == "BINARY" else int(value)
                if segment not in labels:
                    raise InputError(f"segments must be described in SegmentSequence, got {segment}")
                meaning = MEANINGS.index(codes.segment_meaning(labels[segment]))
                inside = pixels == value
                if (labelled[z] & inside & (meanings[z] != meaning)).any():
                    raise InputError("segments of different meaning must not overlap, got an overlap")
                meanings[z][inside] = meaning
                labelled[z] |= inside
    except InputError:
        raise
    except Exception as error:  # a corrupt file can raise anything in the parser
        raise InputError(f"must be a readable DICOM SEG, got {format_error(error)}") from error
    return meanings


def _planes(seg):
    """Position (3,), row and column direction (3,), spacing (2,) of each frame."""
    shared = seg.SharedFunctionalGroupsSequence[0]
    for group in seg.PerFrameFunctionalGroupsSequence:
        position = (group.get("PlanePositionSequence") or shared.get("PlanePositionSequence"))[0]
        orientation = (group.get("PlaneOrientationSequence") or shared.get("PlaneOrientationSequence"))[0]
        measures = (group.get("PixelMeasuresSequence") or shared.get("PixelMeasuresSequence"))[0]
        cosines = np.array(orientation.ImageOrientationPatient, np.float64)
        spacing = np.array(measures.PixelSpacing, np.float64)
        yield np.array(position.ImagePositionPatient, np.float64), cosines[:3], cosines[3:], spacing


def _segments(seg, kind: str):
    """The segment number of each frame; 0 in a label map, where pixel values are segment numbers."""
    shared = seg.SharedFunctionalGroupsSequence[0]
    for group in seg.PerFrameFunctionalGroupsSequence:
        if kind == "LABELMAP":
            yield 0
        else:
            item = (group.get("SegmentIdentificationSequence") or shared.get("SegmentIdentificationSequence"))[0]
            yield int(item.ReferencedSegmentNumber)


def _placed(scan: Geometry, pixels, position, row, column, spacing) -> tuple[int, np.ndarray]:
    """Index of the scan's slice at the frame's position, and the frame's pixels in the order of that slice."""
    step = np.cross(row, column) * scan.spacing[0]
    grid = checked((1, *pixels.shape), position, [step, column * spacing[0], row * spacing[1]])
    order, flips, grid = to_canonical(grid)
    pixels = reordered(pixels[None], order, flips)[0]
    along = scan.steps[0] / scan.spacing[0] ** 2
    z = round(float((grid.origin - scan.origin) @ along))
    if not 0 <= z < scan.shape[0]:
        raise InputError(f"frames must coincide with slices of the scan (0 … {scan.shape[0] - 1}), got slice {z}")
    slice_ = Geometry((1, *scan.shape[1:]), scan.origin + z * scan.steps[0], scan.steps)
    if fault := difference(slice_, Geometry(grid.shape, grid.origin, np.vstack([scan.steps[:1], grid.steps[1:]]))):
        raise InputError(f"a frame {fault}")
    return z, pixels
