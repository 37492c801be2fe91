"""Segmentations of 3D Slicer (.seg.nrrd): segments by name, from one or several layers, placed on the scan's grid.

3D Slicer numbers the segments of each patient separately and names them in the header, so a value has no meaning
without the name of its segment. 3D Slicer also crops the stored grid to the segments, and stores overlapping segments
in separate layers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ildfv.errors import InputError
from ildfv.scans.geometry import MAX_RESAMPLED_TILT, Geometry, difference, reordered, to_canonical
from ildfv.scans.labels import MEANINGS, OUTSIDE, Codes, label_integers
from ildfv.scans.nrrdfile import nrrd_header, nrrd_layers
from ildfv.scans.overlay import Overlay

SEGMENT_FIELD = re.compile(r"Segment(\d+)_(Name|LabelValue|Layer)")


@dataclass(frozen=True)
class SlicerSegment:
    """A segment: the voxels with the value `value` in a layer."""

    name: str
    value: int
    layer: int


def slicer_segments(fields: Mapping[str, str], layers: int) -> tuple[SlicerSegment, ...]:
    """The segments that the fields of an NRRD header name; empty if the file is not a segmentation of 3D Slicer.

    layers: number of volumes in the file. Raises `InputError` if the fields are invalid, or two segments have the same
    value in the same layer.
    """
    by_number: dict[int, dict[str, str]] = {}
    for field, text in fields.items():
        if match := SEGMENT_FIELD.fullmatch(field):
            by_number.setdefault(int(match[1]), {})[match[2]] = str(text).strip()
    segments = []
    for number, (_, described) in enumerate(sorted(by_number.items())):
        name = described.get("Name", "")
        try:  # versions of 3D Slicer before 5.0 write neither field: each segment then has a separate layer
            value, layer = int(described.get("LabelValue", 1)), int(described.get("Layer", number))
        except ValueError as error:
            raise InputError(f"LabelValue and Layer of a segment must be integers: {error}") from error
        if not name or not 0 <= layer < layers:
            raise InputError(f"a segment must have a name and a layer below {layers}, got {name!r} in layer {layer}")
        segments.append(SlicerSegment(name, value, layer))
    if len({(segment.value, segment.layer) for segment in segments}) != len(segments):
        raise InputError("segments must differ in LabelValue or Layer, got two segments with equal values")
    return tuple(segments)


def has_segments(path: Path) -> bool:
    """Whether the header of an NRRD file names segments."""
    header = nrrd_header(path)
    return bool(slicer_segments(header.fields, header.layers))


def slicer_header(path: Path) -> tuple[Geometry, tuple[SlicerSegment, ...]]:
    """The canonical grid of the stored, possibly cropped, volume and the segments. No voxel is read."""
    header = nrrd_header(path)
    return to_canonical(header.grid, MAX_RESAMPLED_TILT)[2], slicer_segments(header.fields, header.layers)


def read_slicer(path: Path, scan: Geometry, codes: Codes) -> np.ndarray:
    """Index into `MEANINGS` of each voxel of the scan, uint8 (z, y, x); "outside" where there is no segment.

    Raises `InputError` if a segment's name has no meaning, if [codes] gives its value another meaning, if segments of
    different meaning overlap without a priority, if a value belongs to no segment, if the stored grid is not part of
    the scan's grid, and if the file is invalid.
    """
    header = nrrd_header(path)
    segments = slicer_segments(header.fields, header.layers)
    order, flips, grid = to_canonical(header.grid, MAX_RESAMPLED_TILT)
    start = placed(scan, grid)
    if isinstance(start, str):
        raise InputError(start)
    for segment in segments:
        _check_agreement(segment, codes)
    overlay = Overlay(scan.shape, codes)
    _, rows, columns = (slice(first, first + n) for first, n in zip(start, grid.shape, strict=True))
    layers = nrrd_layers(path)
    for number, layer in enumerate(layers):
        values = label_integers(reordered(layer, order, flips))
        described = {segment.value: segment.name for segment in segments if segment.layer == number}
        if unknown := sorted(set(np.unique(values).tolist()) - set(described) - {0}):
            raise InputError(f"values must belong to segments in the header, got {unknown[:5]} in layer {number}")
        for value, name in described.items():
            meaning = MEANINGS.index(codes.segment_meaning(name))
            for z in np.flatnonzero((values == value).any(axis=(1, 2))):
                new = np.full(scan.shape[1:], MEANINGS.index(OUTSIDE), np.uint8)
                new[rows, columns][values[z] == value] = meaning
                overlay.add(start[0] + int(z), new, f"segment {name!r}")
    return overlay.meanings


def placed(scan: Geometry, part: Geometry) -> tuple[int, int, int] | str:
    """The index in `scan` of the first voxel of `part`, (z, y, x); or the reason why `part` is not a part of `scan`."""
    if scan.slices is not None:
        return difference(scan, part) or ""
    start = np.round((part.origin - scan.origin) @ np.linalg.inv(scan.steps)).astype(int)
    fits = (start >= 0).all() and (start + part.shape <= scan.shape).all()
    if not fits:
        return difference(scan, part) or f"must be inside the scan, got a grid that starts at voxel {start.tolist()}"
    same = Geometry(part.shape, scan.origin + start @ scan.steps, scan.steps)
    if fault := difference(same, part):
        return fault
    return int(start[0]), int(start[1]), int(start[2])


def _check_agreement(segment: SlicerSegment, codes: Codes) -> None:
    """Raises `InputError` if the meaning of a segment's value in [codes] differs from the meaning of its name."""
    meaning, code = codes.segment_meaning(segment.name), segment.value >> codes.shift
    other = codes.meanings.get(code, meaning)
    if other != meaning:
        raise InputError(
            f"segment {segment.name!r} must mean {other} like code {code} of {codes.name}, got {meaning}: 3D Slicer "
            "numbers segments per patient, so use a table without [codes] for its files"
        )
