"""Slices of scans in Hounsfield units, read on demand and kept in a bounded cache."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from ildfv.datasets.convert import read_volume
from ildfv.datasets.records import Scan
from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError
from ildfv.scans.dicom import Series
from ildfv.scans.frames import FrameReader
from ildfv.scans.geometry import reordered, to_canonical
from ildfv.scans.libraries import format_error, quiet
from ildfv.scans.windows import NORMAL, WINDOWS

CACHE = 48 << 20  # bytes of planes in memory: 96 slices of 512×512 pixels, enough for two open pages
LOW, HIGH = 0, 2  # indices of the windows
PREPARED = "prepared slice: HU are recovered from three 8-bit windows, in steps of 2 to 6, and clipped to −1400 … 240"


def images_of(scan: Scan):
    """The slices of a scan in its files."""
    return DicomImages(scan.dicom) if scan.dicom is not None else VolumeImages(scan)


class DicomImages:
    """Slices of a DICOM series, each decoded when it is read, so that long scans open quickly."""

    note = ""

    def __init__(self, series: Series):
        self.series, self._reader = series, FrameReader()
        self._order, self._flips, _ = to_canonical(series.grid)

    def read(self, z: int) -> np.ndarray:
        """Slice z in HU, int16. InputError: its file is missing, damaged, or has another shape."""
        frames = self.series.frames
        path, frame = frames[len(frames) - 1 - z if 0 in self._flips else z]
        if not path.is_file():
            raise InputError(f"{path.name} no longer exists: it was removed or renamed")
        with quiet():
            hu = self._reader.hounsfield(path, frame)
        shape = self.series.grid.shape[1:]
        if hu.shape != shape:
            raise InputError(f"{path.name} must have shape {shape}, got {hu.shape}")
        return as_int16(reordered(hu[None], self._order, tuple(axis for axis in self._flips if axis))[0])


class VolumeImages:
    """Slices of a volume file. The first call of `read` reads the whole volume into memory, 2 bytes per voxel."""

    note = ""

    def __init__(self, scan: Scan):
        self._scan = scan
        self._hu: np.ndarray | None = None

    def read(self, z: int) -> np.ndarray:
        """Slice z in HU, int16. InputError: the file is missing, damaged, or not a chest CT."""
        if self._hu is None:
            with quiet():
                self._hu = as_int16(read_volume(self._scan).hu)
        return self._hu[z]


class PreparedImages:
    """Slices of one prepared scan. HU are recovered from the window with the finest steps at each pixel."""

    note = PREPARED

    def __init__(self, slices: Slices, first: int):
        self._slices, self._first = slices, first

    def read(self, z: int) -> np.ndarray:
        """Slice z in HU, int16 (224, 224). InputError: the file of the workspace with this slice is damaged."""
        return recovered(self._slices.images([self._first + z])[0])


class PreparedLabels:
    """Label maps of one prepared scan."""

    def __init__(self, slices: Slices, first: int):
        self._slices, self._first = slices, first

    def read(self, z: int) -> np.ndarray:
        """The label map of slice z, uint8 (224, 224). InputError: the file of the workspace with it is damaged."""
        return self._slices.label_maps([self._first + z])[0]


def recovered(image: np.ndarray) -> np.ndarray:
    """Approximate HU, int16 (h, w), from the three windows of a prepared slice, uint8 (3, h, w).

    The normal window covers the HU of the other two, but in steps of 6. If its value is inside the range of another
    window by more than one step, the value of that window is used.
    """
    low, normal, high = (
        a + channel.astype(np.float32) * ((b - a) / 255) for channel, (a, b) in zip(image, WINDOWS, strict=True)
    )
    step = (WINDOWS[NORMAL][1] - WINDOWS[NORMAL][0]) / 255
    hu = np.where(normal > WINDOWS[HIGH][0] + step, high, normal)
    hu = np.where(normal < WINDOWS[LOW][1] - step, low, hu)
    return np.round(hu).astype(np.int16)


def as_int16(hu: np.ndarray) -> np.ndarray:
    """HU of any shape rounded to int16."""
    return hu if hu.dtype == np.int16 else np.clip(np.rint(hu), -32768, 32767).astype(np.int16)


class Cached:
    """A cache of the bytes of planes by (scan, layer, slice), which keeps the most recently used `limit` bytes."""

    def __init__(self, limit: int = CACHE):
        self.limit, self.size = limit, 0
        self._kept: OrderedDict[tuple, bytes] = OrderedDict()
        self._lock, self._reading = threading.Lock(), threading.Lock()

    def get(self, key: tuple, read: Callable[[], np.ndarray]) -> bytes:
        """The bytes of `read()`, little-endian. InputError: it cannot be read."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        plane = self.exclusive(read)
        data = np.ascontiguousarray(plane, plane.dtype.newbyteorder("<")).tobytes()
        with self._lock:
            if key not in self._kept:
                self._kept[key], self.size = data, self.size + len(data)
            while self.size > self.limit:
                self.size -= len(self._kept.popitem(last=False)[1])
        return data

    def exclusive(self, read: Callable[[], np.ndarray]) -> np.ndarray:
        """`read()` while no other thread reads, because readers share open files. InputError: a file is unreadable."""
        with self._reading:
            try:
                return read()
            except OSError as error:
                reason = error.strerror or format_error(error)
                raise InputError(f"a file of this scan cannot be read: {reason}") from error
