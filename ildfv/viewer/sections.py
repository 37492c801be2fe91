"""Coronal and sagittal sections of a scan, from its slices in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ildfv.errors import InputError, check
from ildfv.viewer.scan import ViewedScan

LIMIT = 96 << 20  # bytes of the slices in memory
PAUSE = 0.001  # seconds between slices, so that other requests can take the lock


class Volume:
    """The slices of one scan, int16 (m, rows, columns), averaged over `step` × `step` pixels so that they fit `limit`.

    Each slice is read once, by a thread that starts when the object is created. `coronal` and `sagittal` raise
    InputError until all slices are in memory, and if a slice cannot be read.

    Parameters
    ----------
    read : callable
        Returns slice z in HU.
    shape : tuple of int
        Slices, rows and columns of the scan.
    limit : int
        Maximum number of bytes of the slices in memory.
    """

    def __init__(self, read: Callable[[int], np.ndarray], shape: tuple[int, int, int], limit: int = LIMIT):
        self.shape, self.step = shape, _step(shape, limit)
        self._read, self._done, self._error, self._closed = read, 0, "", False
        self._hu = np.empty((shape[0], -(-shape[1] // self.step), -(-shape[2] // self.step)), np.int16)
        self._thread = threading.Thread(target=self._fill, daemon=True)
        self._thread.start()

    def describe(self) -> dict[str, Any]:
        """The grid of the averaged slices ("step", "rows", "columns") and the number of slices in memory ("read").

        InputError: a slice cannot be read.
        """
        check(not self._error, self._error)
        return {"step": self.step, "rows": self._hu.shape[1], "columns": self._hu.shape[2], "read": self._done}

    def coronal(self, row: int) -> np.ndarray:
        """The section through a row of the averaged slices, int16 (m, columns), uppermost slice first."""
        return self._section(self._hu[::-1, row])

    def sagittal(self, column: int) -> np.ndarray:
        """The section through a column, int16 (m, rows): uppermost slice first, anterior first."""
        return self._section(self._hu[::-1, :, column])

    def close(self) -> None:
        """Stops the thread after the current slice."""
        self._closed = True

    def wait(self) -> None:
        """Waits until all slices are in memory or a slice could not be read."""
        self._thread.join()

    def _section(self, hu: np.ndarray) -> np.ndarray:
        check(not self._error, self._error)
        check(self._done == len(self._hu), f"{self._done} of {len(self._hu)} slices are in memory: try again")
        return hu

    def _fill(self) -> None:
        for z in range(len(self._hu)):
            if self._closed:
                return
            try:
                self._hu[z] = averaged(self._read(z), self.step)
            except InputError as error:
                self._error = f"slice {z + 1}: {error}"
                return
            self._done = z + 1
            time.sleep(PAUSE)


class Volumes:
    """The volume of the scan whose sections were requested last; other volumes are discarded.

    exclusive: calls a function that reads a plane while no other thread reads a plane.
    """

    def __init__(self, exclusive: Callable[[Callable[[], np.ndarray]], np.ndarray]):
        self._exclusive, self._lock = exclusive, threading.Lock()
        self._number, self._volume = -1, None  # type: tuple[int, Volume | None]

    def of(self, number: int, scan: ViewedScan) -> Volume:
        """The volume of a scan. InputError: the scan has no images, or only one slice."""
        images = scan.images
        check(images is not None, "the scan of this prediction was not given: run `ildfv view PREDICTION SCAN`")
        check(len(scan) > 1, f"sections need at least 2 slices, got {len(scan)}")
        assert images is not None  # checked above
        with self._lock:
            if self._volume is None or self._number != number:
                if self._volume is not None:
                    self._volume.close()
                self._number = number
                self._volume = Volume(lambda z: self._exclusive(lambda: images.read(z)), (len(scan), *scan.shape))
            return self._volume


def averaged(hu: np.ndarray, step: int) -> np.ndarray:
    """Means over step × step pixels of `hu` (rows, columns), int16.

    If the shape is not a multiple of `step`, the last row and column are repeated.
    """
    if step == 1:
        return hu
    rows, columns = (-(-n // step) for n in hu.shape)
    padded = np.pad(hu, ((0, rows * step - hu.shape[0]), (0, columns * step - hu.shape[1])), mode="edge")
    means = padded.reshape(rows, step, columns, step).mean(axis=(1, 3), dtype=np.float32)
    return np.rint(means).astype(np.int16)


def _step(shape: tuple[int, int, int], limit: int) -> int:
    """The smallest step with which int16 slices take at most `limit` bytes; if none does, one pixel per slice."""
    m, rows, columns = shape
    most = max(rows, columns)
    fits = (k for k in range(1, most) if 2 * m * -(-rows // k) * -(-columns // k) <= limit)
    return next(fits, most)
