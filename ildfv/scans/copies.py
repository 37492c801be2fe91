"""Removal of copied slices from a series: the same file twice, or a series exported twice with new identifiers."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ildfv.errors import InputError
from ildfv.scans.evengrid import MIN_GAP, normal_of
from ildfv.scans.frames import FrameReader
from ildfv.scans.headers import Frame, Header
from ildfv.store.atomic import sha256


def without_copies(headers: Sequence[Header]) -> tuple[list[Header], list[Path]]:
    """The headers of a series with each slice once, in the order of the paths; and the files that are not used.

    A copy is a file with the same bytes, or a slice with the same position and the same HU. Pixels are read only if
    positions repeat. Raises `InputError` if files that share a SOPInstanceUID have different slices.
    """
    files, copies = _without_equal_files(sorted(headers, key=lambda header: str(header.path)))
    repeated = {(number, frame.index) for number, frame in _repeated(files)}
    kept = []
    for number, header in enumerate(files):
        frames = tuple(frame for frame in header.frames if (number, frame.index) not in repeated)
        if frames:
            kept.append(replace(header, frames=frames))
        else:
            copies.append(header.path)
    first: dict[str, Header] = {}
    for header in kept:
        if (other := first.setdefault(header.instance, header)) is not header:
            raise InputError(
                f"files with the same SOPInstanceUID must contain the same slices, got {other.path.name} and "
                f"{header.path.name} with different slices: remove one of them"
            )
    return kept, sorted(copies)


def _without_equal_files(headers: list[Header]) -> tuple[list[Header], list[Path]]:
    """The headers, without files equal to another file with the same SOPInstanceUID; and the paths of these copies."""
    of_instance = Counter(header.instance for header in headers)
    kept: dict[tuple[str, str], Header] = {}
    copies = []
    for header in headers:
        content = sha256(header.path) if of_instance[header.instance] > 1 else ""
        if kept.setdefault((header.instance, content), header) is not header:
            copies.append(header.path)
    return list(kept.values()), copies


def _repeated(files: list[Header]) -> Iterator[tuple[int, Frame]]:
    """Yields (index of the file, frame) for each frame with the same position and HU as an earlier frame."""
    frames = [(number, frame) for number, header in enumerate(files) for frame in header.frames]
    normal = normal_of(frames[0][1])
    along = np.array([np.dot(frame.position, normal) for _, frame in frames])
    order = np.argsort(along, kind="stable")
    reader = FrameReader()
    for group in np.split(order, np.flatnonzero(np.diff(along[order]) > MIN_GAP) + 1):
        seen: set[tuple] = set()
        for at in sorted(group) if len(group) > 1 else ():
            number, frame = frames[at]
            plane = (*np.round(frame.position, 1), *np.round(frame.orientation, 2), *np.round(frame.spacing, 2))
            content = (plane, _digest(reader.hounsfield(files[number].path, frame)))
            if content in seen:
                yield number, frame
            seen.add(content)


def _digest(hu: np.ndarray) -> bytes:
    """A hash of the shape and the values."""
    return hashlib.sha256(repr(hu.shape).encode() + np.ascontiguousarray(hu, np.float32).tobytes()).digest()
