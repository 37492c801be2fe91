"""Contours of an RT Structure Set as a label map on the grid of its scan.

A voxel is inside a contour if its centre is. scikit-image decides this from the coordinates in the file, while rt-utils
and dcmrtstruct2nii, which have had no release since 2023, round contours to whole voxels first.

A contour inside another contour of the same structure is the border of a hole, as in treatment planning systems.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ildfv.errors import InputError, require
from ildfv.scans.dicomfile import open_dicom, read_dicom
from ildfv.scans.geometry import Geometry, tolerance
from ildfv.scans.labels import MEANINGS, OUTSIDE, Codes
from ildfv.scans.libraries import format_error
from ildfv.scans.overlay import Overlay

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
DECIMALS = 3  # of voxel coordinates; without rounding, a contour through a voxel centre might not contain this voxel
NESTED, DISJOINT = 0.9, 0.1  # fraction of the smaller contour inside the larger one; values in between are ambiguous


def check_installed() -> None:
    """Raises `MissingPackageError` if the package that fills contours is not installed."""
    require("skimage", purpose="reading contours of an RT Structure Set")


def read_contours(path: Path, scan: Geometry, codes: Codes) -> np.ndarray:
    """Index into `MEANINGS` of each voxel of the scan, uint8 (z, y, x); "outside" where there is no contour.

    Only structures whose name is a meaning or listed in [segments] of the codes are read. Raises `InputError` if a
    contour is not closed or not on a slice of the scan, if contours of a structure overlap partially, if structures of
    different meaning overlap without a priority, or if the file cannot be read; and the error of `check_installed`.
    """
    check_installed()
    overlay = Overlay(scan.shape, codes)
    try:
        with open_dicom(path) as file:
            dataset = read_dicom(file)
        names = {int(item.ROINumber): str(item.ROIName) for item in dataset.StructureSetROISequence}
        for name, contours in _structures(dataset, names, codes):
            for z, polygons in by_slice(contours, scan, name).items():
                new = np.full(scan.shape[1:], MEANINGS.index(OUTSIDE), np.uint8)
                new[_filled(polygons, scan.shape[1:], name)] = MEANINGS.index(codes.segment_meaning(name))
                overlay.add(z, new, f"contour {name!r}")
    except InputError:
        raise
    except Exception as error:  # the parser can raise any exception for a corrupt file
        raise InputError(f"must be a readable RT Structure Set, got {format_error(error)}") from error
    return overlay.meanings


def _structures(dataset, names: Mapping[int, str], codes: Codes) -> Iterator[tuple[str, list[np.ndarray]]]:
    """The name of each structure with a meaning, and the points (n, 3) in mm of its contours."""
    for item in dataset.get("ROIContourSequence") or []:
        name = names.get(int(item.ReferencedROINumber), "")
        if not codes.knows(name):
            continue
        contours = []
        for contour in item.get("ContourSequence") or []:
            if (kind := str(contour.ContourGeometricType)) not in CLOSED:
                raise InputError(f"contours of {name!r} must be {' or '.join(CLOSED)}, got {kind}")
            points = np.array(contour.ContourData, np.float64)
            if points.size % 3 or not np.isfinite(points).all():
                raise InputError(
                    f"contours of {name!r} must have 3 finite coordinates per point, got {points.size} numbers"
                )
            contours.append(points.reshape(-1, 3))
        yield name, contours


def by_slice(contours: list[np.ndarray], scan: Geometry, name: str) -> dict[int, list[np.ndarray]]:
    """The distinct contours by index of the slice, as rows and columns (n, 2).

    contours: points in mm, (n, 3) each. Raises `InputError` if a contour is not on a slice of the scan.
    """
    inverse, allowed = np.linalg.inv(scan.steps), tolerance(float(scan.spacing[0]))
    by_slice: dict[int, list[np.ndarray]] = defaultdict(list)
    for points in contours:
        index = (points - scan.origin) @ inverse  # (n, 3): slice, row, column
        if not len(index):
            continue
        z = scan.nearest_slice(float(index[:, 0].mean()))
        exists = 0 <= z < scan.shape[0]
        if not exists or np.abs(index[:, 0] - scan.place(z)).max() * scan.spacing[0] > allowed:
            raise InputError(
                f"contours of {name!r} must be on slices of the scan, got one at {points[:, 2].mean():.2f} mm along z"
            )
        polygon = np.round(index[:, 1:], DECIMALS)
        if not any(np.array_equal(polygon, other) for other in by_slice[z]):
            by_slice[z].append(polygon)
    return by_slice


def _filled(polygons: list[np.ndarray], shape: tuple[int, ...], name: str) -> np.ndarray:
    """The voxels inside the contours of one slice, bool (rows, columns), without the holes."""
    masks = sorted((inside(polygon, shape) for polygon in polygons), key=np.count_nonzero, reverse=True)
    result = np.zeros(shape, bool)
    for i, mask in enumerate(masks):
        size, enclosing = np.count_nonzero(mask), 0
        for larger in masks[:i] if size else ():
            share = np.count_nonzero(mask & larger) / size
            if DISJOINT < share < NESTED:
                raise InputError(
                    f"contours of {name!r} on one slice must be disjoint or nested, got two that overlap partially"
                )
            enclosing += int(share >= NESTED)
        result = result & ~mask if enclosing % 2 else result | mask
    return result


def inside(polygon: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Whether the centre of each pixel of a slice is inside the polygon, bool of the given shape.

    polygon: rows and columns of its points, (n, 2); it may extend beyond the slice.
    """
    from skimage.measure import grid_points_in_poly

    mask = np.zeros(shape, bool)
    first = np.maximum(np.ceil(polygon.min(axis=0)), 0).astype(int)
    stop = np.minimum(np.floor(polygon.max(axis=0)) + 1, shape).astype(int)
    if (stop > first).all() and len(polygon) > 2:
        rows, columns = (slice(a, b) for a, b in zip(first, stop, strict=True))
        mask[rows, columns] = grid_points_in_poly(tuple(stop - first), polygon - first)
    return mask
