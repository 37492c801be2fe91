"""The even grid that best explains the positions, orientations and spacings in the headers of slices.

Headers often contain rounded numbers: positions with one decimal, cosines and spacings with three. Each slice is
therefore compared with the grid fitted to all of them, not with its neighbour, and deviations are measured in mm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ildfv.counted import counted
from ildfv.errors import InputError
from ildfv.scans.geometry import MAX_GAP, Geometry, checked, tolerance
from ildfv.scans.headers import Frame

POSITION_ROUNDING = 0.1  # mm; rounding changes positions by up to 0.05 mm, and the fitted line by the same amount
WHOLE_ROUNDING = 0.6  # mm; the same limit if all positions are rounded to whole numbers
UNKNOWN_THICKNESS = 1.0  # mm; length of the step of a single slice without a thickness, which has no meaning
OTHER = "use another series of the same study"
MIN_GAP = 0.01  # mm; slices that are closer count as slices at the same position


def even_grid(frames: Sequence[tuple[str, Frame]], rows: int, columns: int, *, accept_uneven: bool = False) -> Geometry:
    """The grid of the slices; axes: slices, rows, columns.

    frames: (file name, frame) in ascending order along the normal. Only the step of a single slice depends on its
    thickness, which may be unknown. accept_uneven: accept unevenly spaced slices on a straight line, up to `MAX_GAP`
    apart; `slices` of the result is set only for these.

    Raises `InputError` if a slice or one of its corners deviates by more than `tolerance` from the grid, if two slices
    have the same position, if a gap is larger than `MAX_GAP` (with `accept_uneven`, for uneven slices), or if a number
    in a header is invalid.
    """
    row, column, between_rows, between_columns = _plane([frame for _, frame in frames], rows, columns)
    normal = np.cross(row, column)
    origin, step, places = _line(frames, normal, min(between_rows, between_columns), accept_uneven)
    # ImageOrientationPatient: direction of the row (columns increase) first, then of the column (rows increase).
    grid = checked((len(frames), rows, columns), origin, [step, column * between_rows, row * between_columns])
    known = len(frames) > 1 or frames[0][1].thickness is not None
    return replace(grid, slices=places, thickness_known=known)


def normal_of(frame: Frame) -> np.ndarray:
    """A normal of the slice, (3,), not of unit length."""
    return np.cross(frame.orientation[:3], frame.orientation[3:])


def _plane(frames: Sequence[Frame], rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Unit vectors along a row and along a column, and mm between rows and between columns, common to all slices."""
    cosines = np.array([frame.orientation for frame in frames])  # (n, 6)
    spacings = np.array([frame.spacing for frame in frames])  # (n, 2)
    allowed = tolerance(float(spacings.mean()))
    # Length of a row and of a column, mm, (6,): a deviation of a cosine moves the far corner by deviation · length.
    far = np.array([columns - 1] * 3 + [rows - 1] * 3) * np.repeat(spacings.mean(axis=0)[::-1], 3)
    mean = cosines.mean(axis=0)
    if (np.abs(cosines - mean) * far).max() > allowed:
        shown = _shares([str(value) for value in np.round(cosines, 3).tolist()])
        raise InputError(f"ImageOrientationPatient must be the same in all slices of a series, got {shown}: {OTHER}")
    between = spacings.mean(axis=0)
    if (np.abs(spacings - between) * [rows - 1, columns - 1]).max() > allowed:
        shown = _shares([f"{rows:.5g} × {columns:.5g} mm" for rows, columns in spacings])
        raise InputError(f"PixelSpacing must be the same in all slices of a series, got {shown}: {OTHER}")
    row, column = mean[:3], mean[3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if max(abs(length - 1) for length in lengths) > 0.01 or abs(row @ column) > 0.01:
        raise InputError(f"ImageOrientationPatient must be two orthogonal unit vectors, got {mean.tolist()}")
    return row / lengths[0], column / lengths[1], float(between[0]), float(between[1])


def _shares(values: Sequence[str]) -> str:
    """The three most frequent values of the slices, each with its number of slices."""
    kinds = Counter(values)
    shown = "; ".join(f"{kind} in {n} of {counted(len(values), 'slice')}" for kind, n in kinds.most_common(3))
    return shown + "; …" * (len(kinds) > 3)


def _line(
    frames: Sequence[tuple[str, Frame]], normal: np.ndarray, pixel: float, accept_uneven: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The line of slice positions: first position (3,), mm; step to the next slice (3,), mm; and places (m,) or None.

    For evenly spaced slices, it is a least-squares line, and places is None. For unevenly spaced slices, it passes
    through the first and the last slice, and places has the position of each slice along the line in steps.
    """
    positions = np.array([frame.position for _, frame in frames])  # (m, 3)
    if len(frames) == 1:
        return positions[0], normal * (frames[0][1].thickness or UNKNOWN_THICKNESS), None
    along = positions @ normal
    gaps = np.diff(along)
    if (gaps <= MIN_GAP).any():
        at = int(np.argmin(gaps))
        raise InputError(
            f"slices must have distinct positions, got {frames[at][0]} and {frames[at + 1][0]} "
            f"both at {along[at]:.2f} mm (pairs at equal positions: {np.count_nonzero(gaps <= MIN_GAP)})"
        )
    index = np.arange(len(frames)) - (len(frames) - 1) / 2
    step = index @ positions / (index @ index)
    off = positions - positions.mean(axis=0) - index[:, None] * step  # (m, 3)
    rounding = WHOLE_ROUNDING if (positions[:, 2] == np.rint(positions[:, 2])).all() else POSITION_ROUNDING
    allowed = tolerance(float(step @ normal), rounding)
    places = None
    if np.abs(off @ normal).max() > allowed:
        if not accept_uneven:
            limit = f" (`ildfv prepare --resample` accepts gaps up to {MAX_GAP:g} mm, `predict` does not)"
            remedy = f": use a complete, evenly spaced series of the same study{limit * bool(gaps.max() <= MAX_GAP)}"
            raise InputError(f"{_uneven(along, gaps)}{remedy}", faq="uneven-slices")
        if gaps.max() > MAX_GAP + POSITION_ROUNDING:
            at = int(gaps.argmax())
            raise InputError(
                f"gaps between slices must be at most {MAX_GAP:g} mm with --resample, got {gaps[at]:.3g} mm after "
                f"{along[at]:.2f} mm"
            )
        step = (positions[-1] - positions[0]) / (len(frames) - 1)
        places = (along - along[0]) / (step @ normal)
        off = positions - positions[0] - places[:, None] * step
    sideways = np.linalg.norm(off - np.outer(off @ normal, normal), axis=1).max()
    if sideways > tolerance(pixel, POSITION_ROUNDING):
        raise InputError(f"slice positions must be on one line, got an in-plane deviation of {sideways:.2f} mm")
    return (positions.mean(axis=0) + index[0] * step if places is None else positions[0]), step, places


def _uneven(along: np.ndarray, gaps: np.ndarray) -> str:
    """The violated rule, with the gap that deviates most from the usual gap.

    along: position of each slice along the normal, mm. gaps: mm.
    """
    usual = float(np.median(gaps))
    allowed = 1.5 * tolerance(usual, POSITION_ROUNDING)  # a gap contains the rounding errors of two positions
    usual = float(gaps[np.abs(gaps - usual) <= allowed].mean())  # a mean is less affected by rounding than the median
    odd = np.flatnonzero(np.abs(gaps - usual) > allowed)
    at = int(np.abs(gaps - usual).argmax())
    times = round(gaps[at] / usual)
    missing = times > 1 and abs(gaps[at] - times * usual) <= allowed
    return (
        f"slices must be evenly spaced ({usual:.3g} mm), got a gap of {gaps[at]:.3g} mm after {along[at]:.2f} mm "
        f"({f'slices missing: {times - 1}' if missing else 'uneven spacing'}; deviating gaps: {odd.size})"
    )
