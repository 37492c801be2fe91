"""Regions of interest in the text files of the HUG-ILD database, as a label map on the grid of their CT series.

A file belongs to one series and lists outlines by label and slice:

    SpacingX: 0.683594
    SpacingY: 0.683594
    label: ground_glass
    slice_number: 12
    nb_points_on_contour: 3
    101.2 93.6
    …

The database's own readers (loadROIfiles, Depeursinge et al., 2012) define these names, coordinates in mm, and slices
that are numbered from 1. Other lines with a name and a colon are ignored, as in these readers. The following is
assumed, because it is not published: slice n is the file whose name ends with the number n; x runs along a row and y
along a column, from the centre of the first pixel; regions of one label on one slice are united.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ildfv.errors import InputError, check
from ildfv.parsing import read_bytes
from ildfv.scans.contours import by_slice, check_installed, inside
from ildfv.scans.dicom import Series
from ildfv.scans.geometry import Geometry
from ildfv.scans.headers import Frame
from ildfv.scans.labels import MEANINGS, OUTSIDE, Codes
from ildfv.scans.overlay import Overlay

MAX_BYTES = 64 << 20  # bytes of a text file; an outline of 1,000 points has about 20 KB
SPACING = 1e-3  # mm by which the spacing of the file may differ from PixelSpacing, because of rounding


@dataclass(frozen=True)
class Region:
    """One outline: its label, the number of its slice, and its points (n, 2), x and y in mm."""

    label: str
    slice_number: int
    points: np.ndarray


@dataclass(frozen=True)
class RegionFile:
    """The regions of a series, and the pixel spacing (x, y) in mm that they were drawn with."""

    spacing: tuple[float, float]
    regions: tuple[Region, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The different labels, in the order of the file."""
        return tuple(dict.fromkeys(region.label for region in self.regions))


def read_region_file(path: Path) -> RegionFile:
    """The regions of a text file.

    Raises `InputError` with the number of a line that violates the format, or if the spacing or all regions are absent.
    """
    lines = read_bytes(path, MAX_BYTES).decode("latin-1").splitlines()
    values: dict[str, str] = {}
    regions: list[Region] = []
    at = 0
    while at < len(lines):
        line, number = lines[at].strip(), at + 1
        at += 1
        if not line:
            continue
        name, colon, value = (part.strip() for part in line.partition(":"))
        check(bool(colon), f'line {number} must have the form "name: value", got {line[:40]!r}')
        values[name.casefold()] = value
        if name.casefold() == "label":
            values.pop("slice_number", None)
        elif name.casefold() == "nb_points_on_contour":
            points = [_point(lines, at + i) for i in range(_integer(value, number, 1))]
            at += len(points)
            regions.append(_region(values, np.array(points), number))
    spacing = tuple(_spacing(values, name) for name in ("SpacingX", "SpacingY"))
    check(bool(regions), "a text file of regions must have at least one nb_points_on_contour, got none")
    return RegionFile((spacing[0], spacing[1]), tuple(regions))


def read_regions(path: Path, scan: Geometry, series: Series, codes: Codes) -> np.ndarray:
    """Index into `MEANINGS` of each voxel of the scan, uint8 (z, y, x); "outside" where there is no region.

    Raises `InputError` if the text file or the names of the series' files violate the format, a label has no meaning in
    the codes, a slice has no file, the spacing differs from that in the series, or regions of different meaning overlap
    without a priority; and the error of `check_installed`.
    """
    check_installed()
    file = read_region_file(path)
    frames = _frames_by_number(series)
    overlay = Overlay(scan.shape, codes)
    for label in file.labels:
        meaning = MEANINGS.index(codes.segment_meaning(label))
        placed = [_placed(region, frames, file.spacing) for region in file.regions if region.label == label]
        for z, polygons in by_slice(placed, scan, label).items():
            new = np.full(scan.shape[1:], MEANINGS.index(OUTSIDE), np.uint8)
            for polygon in polygons:
                new[inside(polygon, scan.shape[1:])] = meaning
            overlay.add(z, new, f"region {label!r}")
    return overlay.meanings


def _frames_by_number(series: Series) -> Mapping[int, Frame]:
    """The frame of each file by the number at the end of its name."""
    found: dict[int, Frame] = {}
    for path, frame in series.frames:
        match = re.search(r"(\d+)$", path.stem)
        rule = "file names must end with the slice number, which must be unique"
        check(match is not None and int(match[1]) not in found, f"{rule}, got {path.name}")
        assert match is not None
        found[int(match[1])] = frame
    return found


def _placed(region: Region, frames: Mapping[int, Frame], spacing: Sequence[float]) -> np.ndarray:
    """The points of a region in mm of the patient, (n, 3)."""
    rule = f"slice_number of a region must be the number of a file, {min(frames)} to {max(frames)}"
    check(region.slice_number in frames, f"{rule}, got {region.slice_number}")
    frame = frames[region.slice_number]
    own = (frame.spacing[1], frame.spacing[0])  # x, y
    same = np.allclose(spacing, own, rtol=0, atol=SPACING)
    check(same, f"SpacingX, SpacingY must be the pixel spacing of the series, {own}, got {tuple(spacing)}")
    row, column = np.reshape(frame.orientation, (2, 3))
    return np.asarray(frame.position) + region.points @ np.stack([row, column])


def _region(values: Mapping[str, str], points: np.ndarray, number: int) -> Region:
    for name in ("label", "slice_number"):
        check(bool(values.get(name)), f"the region in line {number} must follow a line with {name}:, got none")
    check(len(points) > 2, f"the region in line {number} must have at least 3 points, got {len(points)}")
    return Region(values["label"], _integer(values["slice_number"], number, 1), points)


def _point(lines: Sequence[str], at: int) -> tuple[float, float]:
    """The two coordinates in line `at`, counted from 0."""
    check(at < len(lines), f"the last region must have the number of points that it states, got a file of {at} lines")
    try:
        x, y = map(float, lines[at].split())
    except ValueError as error:
        raise InputError(f"line {at + 1} must have the coordinates x and y in mm, got {lines[at][:40]!r}") from error
    check(bool(np.isfinite([x, y]).all()), f"line {at + 1} must have finite coordinates, got {lines[at][:40]!r}")
    return x, y


def _integer(value: str, number: int, least: int) -> int:
    valid = value.isascii() and value.isdigit() and int(value) >= least
    check(valid, f"line {number} must have an integer of at least {least}, got {value[:40]!r}")
    return int(value)


def _spacing(values: Mapping[str, str], name: str) -> float:
    try:
        found = float(values.get(name.casefold(), ""))
    except ValueError:
        found = 0.0
    given = values.get(name.casefold())
    check(bool(np.isfinite(found)) and found > 0, f"{name} must be a positive number in mm, got {given!r}")
    return found
