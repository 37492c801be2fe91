"""Pixels of uncompressed single-frame files, read at the offset that was found with the header."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ildfv.parsing import open_regular
from ildfv.scans.headers import Frame, Words
from ildfv.scans.volume import MAX_HU, PADDING, as_hounsfield, check_rescale, fits_int16, rescaled_in_place


def plain_hounsfield(path: Path, frame: Frame, out: np.ndarray | None = None) -> np.ndarray | None:
    """The frame in HU, like `FrameReader.hounsfield`, or None if pydicom must read it.

    pydicom reads the frame if the file was modified since its header was read, if bits above BitsStored are used, and
    if the header declares padding and there are values that padding would change.

    out: int16 array; its memory is used for the result if all HU are integers of 16 bits.
    """
    words = frame.words
    check_rescale(frame.slope, frame.intercept)
    if words is None or (out is not None and out.shape != words.shape):
        return None
    stored = np.empty(words.shape, np.uint16) if out is None else out.view(np.uint16)
    if words.signed:
        stored = stored.view(np.int16)
    if not _read(path, words, stored):
        return None
    low, high = int(stored.min()), int(stored.max())
    most = (1 << (words.bits - words.signed)) - 1  # of a value in BitsStored bits
    if high > most or low < (-most - 1 if words.signed else 0):
        return None
    if words.padded and (
        low * frame.slope + frame.intercept < PADDING or high * frame.slope + frame.intercept > MAX_HU
    ):
        return None
    if fits_int16(low, high, frame.slope, frame.intercept):
        return rescaled_in_place(stored, int(frame.slope), int(frame.intercept))
    return as_hounsfield(stored, frame.slope, frame.intercept)


def _read(path: Path, words: Words, out: np.ndarray) -> bool:
    """Reads the stored values into `out`. False: the file was modified since its header was read."""
    with open_regular(path) as file:
        status = os.fstat(file.fileno())
        unmodified = (status.st_size, status.st_mtime_ns) == (words.size, words.mtime_ns)
        return unmodified and os.preadv(file.fileno(), [out.data], words.offset) == out.nbytes
