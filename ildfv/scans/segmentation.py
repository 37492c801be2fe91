"""DICOM SEG label maps, placed on the grid of the segmented scan.

Only the attributes that determine the meaning of voxels are read. highdicom is not used, because it requires complete
SEG objects and rejects files that lack attributes without influence on the voxels.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from ildfv.errors import InputError
from ildfv.scans.dicomfile import open_dicom, read_dicom
from ildfv.scans.geometry import MAX_RESAMPLED_TILT, Geometry, checked, difference, reordered, to_canonical, tolerance
from ildfv.scans.headers import SegReference
from ildfv.scans.labels import MEANINGS, OUTSIDE, Codes
from ildfv.scans.libraries import format_error
from ildfv.scans.overlay import Overlay

KINDS = ("BINARY", "LABELMAP")
# Values that DICOM requires in every SEG, but that some files lack.
FIXED = {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "PixelRepresentation": 0}


def read_segmentation(path: Path, scan: Geometry, codes: Codes, frames: Collection[int] | None = None) -> np.ndarray:
    """Index into `MEANINGS` of each voxel of the scan, uint8 (z, y, x); "outside" where there is no segment.

    The SegmentLabel gives the meaning of a segment: it is a meaning itself or listed in [segments] of the codes. Each
    frame must coincide with a slice of the scan; empty frames may be omitted. frames: indices of the frames that belong
    to the scan; None for all. Raises `InputError` for fractional segments, for segments without a meaning, for frames
    that are not on a slice, if segments of different meaning overlap without a priority, and if the file is invalid.
    """
    from pydicom.pixels import iter_pixels

    try:
        with open_dicom(path) as file:
            seg = read_dicom(file)
            for name, value in FIXED.items():
                if name not in seg:
                    setattr(seg, name, value)
            kind = _kind(seg)
            labels = {int(item.SegmentNumber): str(item.SegmentLabel) for item in seg.SegmentSequence}
            planes, numbers = list(_planes(seg)), list(_segments(seg, kind))
            overlay = Overlay(scan.shape, codes)
            for index, (pixels, plane, number) in enumerate(zip(iter_pixels(seg), planes, numbers, strict=True)):
                if frames is not None and index not in frames:
                    continue
                z, placed = _placed(scan, pixels, *plane)
                for value in np.unique(placed[placed != 0]):
                    segment = number if kind == "BINARY" else int(value)
                    if segment not in labels:
                        raise InputError(f"segments must be described in SegmentSequence, got segment {segment}")
                    meaning = MEANINGS.index(codes.segment_meaning(labels[segment]))
                    new = np.where(placed == value, meaning, MEANINGS.index(OUTSIDE)).astype(np.uint8)
                    overlay.add(z, new, f"segment {labels[segment]!r}")
    except InputError:
        raise
    except Exception as error:  # the parser can raise any exception for a corrupt file
        raise InputError(f"must be a readable DICOM SEG, got {format_error(error)}") from error
    return overlay.meanings


def on_slices(scan: Geometry, seg: SegReference) -> np.ndarray:
    """Whether each frame of the SEG has the size and the position of a slice of the scan, bool (frames,)."""
    placed = np.array([position is not None for position in seg.positions], bool)
    if not placed.any() or sorted(seg.shape) != sorted(scan.shape[1:]):
        return np.zeros(len(placed), bool)
    positions = np.array([position or (0.0, 0.0, 0.0) for position in seg.positions])
    index = (positions - scan.origin) @ np.linalg.inv(scan.steps)  # (frames, 3), voxels along z, y, x
    allowed = tolerance(float(scan.spacing.min())) / scan.spacing  # voxels along z, y, x
    places = np.arange(scan.shape[0]) if scan.slices is None else scan.slices
    on_slice = np.abs(index[:, :1] - places).min(axis=1) < allowed[0]
    corners = np.array([0, scan.shape[1] - 1]), np.array([0, scan.shape[2] - 1])  # a frame may be stored flipped
    at_corner = [np.abs(index[:, i + 1, None] - corners[i]).min(axis=1) < allowed[i + 1] for i in (0, 1)]
    return placed & on_slice & at_corner[0] & at_corner[1]


def _kind(seg) -> str:
    kind = str(seg.get("SegmentationType") or "")
    if not kind and seg.get("BitsAllocated") == 1:  # one bit per pixel can only be binary
        return "BINARY"
    if kind not in KINDS:
        raise InputError(f"SegmentationType must be {' or '.join(KINDS)}, got {kind or 'none'}")
    return kind


def _group(seg, group, name: str):
    """The functional group of that name, from the frame or from the shared groups."""
    shared = (seg.get("SharedFunctionalGroupsSequence") or [{}])[0]
    sequence = group.get(name) or shared.get(name)
    if not sequence:
        raise InputError(f"{name} must be present per frame or shared, got none")
    return sequence[0]


def _planes(seg):
    """Position (3,), row and column direction (3,), spacing (2,) of each frame."""
    for group in seg.PerFrameFunctionalGroupsSequence:
        position = _group(seg, group, "PlanePositionSequence").ImagePositionPatient
        cosines = np.array(_group(seg, group, "PlaneOrientationSequence").ImageOrientationPatient, np.float64)
        spacing = np.array(_group(seg, group, "PixelMeasuresSequence").PixelSpacing, np.float64)
        yield np.array(position, np.float64), cosines[:3], cosines[3:], spacing


def _segments(seg, kind: str):
    """The segment number of each frame; 0 in a label map, where pixel values are segment numbers."""
    for group in seg.PerFrameFunctionalGroupsSequence:
        if kind == "LABELMAP":
            yield 0
        else:
            yield int(_group(seg, group, "SegmentIdentificationSequence").ReferencedSegmentNumber)


def _placed(scan: Geometry, pixels, position, row, column, spacing) -> tuple[int, np.ndarray]:
    """Index of the scan's slice at the frame's position, and the frame's pixels in the order of that slice."""
    step = np.cross(row, column) * scan.spacing[0]
    grid = checked((1, *pixels.shape), position, [step, column * spacing[0], row * spacing[1]])
    order, flips, grid = to_canonical(grid, MAX_RESAMPLED_TILT)
    pixels = reordered(pixels[None], order, flips)[0]
    along = scan.steps[0] / scan.spacing[0] ** 2
    z = scan.nearest_slice(float((grid.origin - scan.origin) @ along))
    if not 0 <= z < scan.shape[0]:
        raise InputError(f"frames must coincide with slices of the scan (0 … {scan.shape[0] - 1}), got slice {z}")
    slice_ = Geometry((1, *scan.shape[1:]), scan.origin + scan.place(z) * scan.steps[0], scan.steps)
    if fault := difference(slice_, Geometry(grid.shape, grid.origin, np.vstack([scan.steps[:1], grid.steps[1:]]))):
        raise InputError(f"a frame {fault}")
    return z, pixels
