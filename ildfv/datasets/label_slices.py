"""The label maps of a scan, slice by slice, so that only one slice of a long scan is in memory.

The meaning of a voxel is an index into `MEANINGS`, such as a pattern or "outside".
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterator

import numpy as np

from ildfv.datasets.read_labels import read_labels
from ildfv.datasets.records import Label, Scan
from ildfv.errors import InputError
from ildfv.kernels.slices import translated
from ildfv.scans.geometry import MAX_RESAMPLED_TILT, Geometry, reordered, to_canonical
from ildfv.scans.labels import MEANINGS, OUTSIDE, UNKNOWN, Codes, meaning_counts
from ildfv.scans.nifti import nifti_slices

CODED = (np.uint8, np.uint16, np.int16)  # dtypes of label maps that are translated slice by slice


def label_slices(
    scan: Scan, grid: Geometry, codes: Codes, onto_grid: Callable[[np.ndarray, int], np.ndarray] | None = None
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yields index, meanings uint8 (y, x) and voxels per meaning (7,) of each slice, in any order.

    If a slice is yielded twice, the second result is valid. The meanings and errors are those of `read_labels`.

    onto_grid: resamples the label map (`resample.resampled`).
    """
    if onto_grid is None and len(scan.labels) == 1:
        complete = yield from _streamed(scan.labels[0], grid, codes)
        if complete:
            return
    meanings = read_labels(scan, grid, codes)
    if onto_grid is not None:
        meanings = onto_grid(meanings, MEANINGS.index(OUTSIDE))
    for z, (slice_, counts) in enumerate(zip(meanings, meaning_counts(meanings), strict=True)):
        yield z, slice_, counts


def _streamed(label: Label, grid: Geometry, codes: Codes) -> Generator[tuple[int, np.ndarray, np.ndarray], None, bool]:
    """Yields the results of `label_slices`, and returns whether the whole label map was read.

    If not, the caller must use `read_labels`, whose error describes any fault of the file.
    """
    if label.kind != "nifti" or label.segments or label.structure or label.names:
        return False
    m, n = grid.shape[0], 0
    try:
        declared, slices = nifti_slices(label.path)  # the file is opened once
        order, flips, stored = to_canonical(declared, MAX_RESAMPLED_TILT)
        if stored.shape != grid.shape or order[0] != 2:  # the slices are not stored one after the other
            return False
        in_plane = tuple(axis for axis in flips if axis)
        table = None
        for n, values in enumerate(slices, start=1):
            if values.dtype not in CODED:
                return False
            if table is None:
                table = codes.table(signed=values.dtype.kind == "i")
            slice_ = np.ascontiguousarray(reordered(values[..., None], order, in_plane)[0])
            meanings, counts = translated(table, slice_.view(f"u{slice_.itemsize}"))
            if counts[UNKNOWN]:
                return False
            yield m - n if 0 in flips else n - 1, meanings, counts[: len(MEANINGS)]
    except (InputError, EOFError, OSError, zlib.error):  # truncated, corrupt or modified
        return False
    return n == m
