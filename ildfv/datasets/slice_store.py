"""The slice store: windowed slices, label maps, pixel counts and hashed identities, one part per scan."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from itertools import pairwise
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from ildfv.datasets.scan_part import FORMAT, SIZE, stored_technique
from ildfv.datasets.scan_part import ScanSlices as ScanSlices
from ildfv.datasets.scan_part import write_scan as write_scan
from ildfv.errors import InputError, check
from ildfv.patterns import PATTERNS, UNLABELLED
from ildfv.scans.grey import Grey
from ildfv.scans.preparation import Preparation, check_same
from ildfv.scans.prepared_lungs import RULE
from ildfv.scans.technique import Technique
from ildfv.scans.windows import GRID, paper_pixel_area
from ildfv.store.atomic import MEND, key_of
from ildfv.store.hdf5 import Schema
from ildfv.store.parts import DAMAGE, Parts

OPEN_PARTS = 16  # open files per reader; HDF5 uses 0.7 MB for each
SCHEMA = Schema(  # schema of a part written by `write_scan`
    arrays={
        "images": ("u", (3, SIZE, SIZE)),
        "labels": ("u", (SIZE, SIZE)),
        "counts": ("i", (len(PATTERNS),)),
        "lung": ("i", ()),
        "positions": ("f", ()),
    },
    attributes={"patient": "S", "series": "S", "labelled": "b", "pixel_area": "f", "phantom": "b"},
    optional={"thickness": "f", "air": "f", "kernel": "S", "manufacturer": "S", "grid": "i"},
)
SCAN = ("patient", "series", "labelled", "pixel_area", "phantom")  # attributes of a part, equal for all its slices


def _text(value):
    """The value of an attribute. h5py returns strings as bytes, which are decoded here."""
    return value.decode() if isinstance(value, bytes) else value


class Slices:
    """All slices of a prepared folder, ordered by scan and position. Images are read on demand.

    folder: a path, or the URL of a remote folder (`ildfv.store.remote`). The object takes 28 bytes per slice in
    addition to the attributes of the scans. counts (N, 4), lung (N,), healthy (N,): pixels on the scan's own grid.
    healthy is −1 in slices without a label map and in parts of format 1, which do not contain it. preparation: the
    options with which all scans were prepared. techniques: the acquisition technique of each scan, (parts,).
    scan_labels: int8 (parts, 4), the presence of each pattern in each scan, 1, 0 or −1 (unknown), if only scans are
    labelled (`scan_labels`); or None.

    Raises `InputError` if the folder has no slices, a part is corrupt or of a newer format, or scans were prepared with
    different options.
    """

    def __init__(self, folder: Path | str):
        self.parts = Parts(folder, schema=SCHEMA)
        self.folder = self.parts.folder
        if self.parts.count == 0:
            raise InputError(f"{folder} contains no slices: run `ildfv prepare` first")
        self.names = list(self.parts.rows)
        self.sizes = np.array([row.count for row in self.parts.rows.values()])  # (parts,)
        self.starts = np.concatenate([[0], np.cumsum(self.sizes)])  # (parts + 1,)
        self.counts = np.empty((len(self), len(PATTERNS)), np.int32)
        self.lung = np.empty(len(self), np.int32)
        self.healthy = np.full(len(self), UNLABELLED, np.int32)
        self.positions = np.empty(len(self), np.float32)
        self.scan_labels: np.ndarray | None = None
        self.techniques: list[Technique] = []
        self._masked: list[bool] = []
        self._with_hu: list[bool] = []
        self._given_masks: list[bool] = []
        self._grids: list[int] = []
        self._greys: list[Grey | None] = []
        preparations: dict[str, str] = {}  # one part for each preparation
        scans: dict[str, list] = {name: [] for name in SCAN}
        for name, start, stop in zip(self.names, self.starts, self.starts[1:], strict=False):
            with self.parts.open(name) as file:
                series = _text(file.attrs["series"])
                rule = f"{self.parts.path(name)} must contain the series that its file name states"
                check(series == name, f"{rule}, got {series}: {MEND}")
                part_format = int(file.attrs.get("format", 1))
                self.techniques.append(stored_technique(file.attrs))
                self._grids.append(int(file.attrs.get("grid", GRID)))
                self._masked.append("lung_masks" in file)
                self._with_hu.append("hu" in file)
                self._greys.append(Grey(*file.attrs["grey"].tolist()) if "grey" in file.attrs else None)
                # Earlier versions did not record the origin of lung masks. Their masks of scans are the user's.
                given = self._masked[-1] and self._greys[-1] is None
                self._given_masks.append(bool(file.attrs.get("given_masks", given)))
                preparations.setdefault(_text(file.attrs.get("preparation", "{}")), name)
                known = f"format {FORMAT} or older"
                check(part_format <= FORMAT, f"part {name} must have {known}, got {part_format}: update ildfv")
                complete = part_format < 2 or "healthy" in file
                check(complete, f"part {name} must contain numbers of healthy pixels, got none: {MEND}")
                columns = ("counts", "lung", "positions") + (("healthy",) if part_format > 1 else ())
                for column in columns:
                    getattr(self, column)[start:stop] = file[column][()]
                for attribute, values in scans.items():
                    values.append(_text(file.attrs[attribute]))
        self._scans = {attribute: np.array(values) for attribute, values in scans.items()}
        self._scans["paper_pixel_area"] = paper_pixel_area(self._scans["pixel_area"], np.array(self._grids))
        ways = [Preparation.of_text(text) for text in preparations]
        for one in ways[1:]:
            check_same(ways[0], one, f"all slices of {folder} must be prepared like the first scan,")
        self.preparation = ways[0]
        self.key = key_of([(row.name, row.sha256) for row in self.parts.rows.values()])
        self._reset()

    def __len__(self) -> int:
        return int(self.starts[-1])

    def scans(self, attribute: str) -> np.ndarray:
        """An attribute of each scan, (parts,): "patient", "labelled", "pixel_area", "phantom" …"""
        return self._scans[attribute]

    def of_scans(self, scans: np.ndarray) -> np.ndarray:
        """The indices of all slices of these scans, ascending. scans: indices of scans, ascending."""
        runs = [np.arange(self.starts[scan], self.starts[scan + 1]) for scan in scans]
        return np.concatenate([np.empty(0, np.int64), *runs])

    @property
    def patients(self) -> np.ndarray:
        """The salted hash of the patient of each slice, (N,) str."""
        return self._each("patient")

    @property
    def series(self) -> np.ndarray:
        """The salted hash of the series of each slice, (N,) str."""
        return self._each("series")

    @property
    def labelled(self) -> np.ndarray:
        """Whether the presence of any pattern is known, (N,) bool. A labelled scan may have slices without labels.

        If whole scans are labelled, the presence is known for all slices of a scan, or for none.
        """
        if self.scan_labels is not None:
            return np.repeat((self.scan_labels >= 0).any(axis=1), self.sizes)
        return (self.counts != UNLABELLED).any(axis=1)

    @property
    def pixel_area(self) -> np.ndarray:
        """The area of a pixel on the scan's own grid of each slice, mm², (N,)."""
        return self._each("pixel_area")

    @property
    def paper_pixel_area(self) -> np.ndarray:
        """The area of a pixel of a 512×512 grid over the square that a prepared slice shows, mm², (N,)."""
        return self._each("paper_pixel_area")

    @property
    def grids(self) -> np.ndarray:
        """The larger of the numbers of rows and columns of the scan's own grid, for each slice, int (N,).

        The value is 512 for parts of earlier versions, in which it is unknown.
        """
        return np.repeat(self._grids, self.sizes)

    @property
    def data(self) -> Literal["phantom", "user"]:
        """ "phantom" if any scan is a phantom, otherwise "user"."""
        return "phantom" if self._scans["phantom"].any() else "user"

    def images(self, indices) -> np.ndarray:
        """Windowed slices, uint8 (m, 3, 224, 224), in the order of `indices`."""
        return self._read("images", indices, (3, SIZE, SIZE))

    def label_maps(self, indices) -> np.ndarray:
        """Label maps, uint8 (m, 224, 224), in the order of `indices`: 0, or pattern index + 1."""
        return self._read("labels", indices, (SIZE, SIZE))

    @property
    def has_hounsfield(self) -> bool:
        """Whether every part contains HU."""
        return all(self._with_hu)

    def hounsfield(self, indices) -> np.ndarray:
        """Slices in HU, int16 (m, 1, 224, 224), in the order of `indices` (`scans.hounsfield`).

        Raises `InputError` if a part has no HU.
        """
        rule = "all slices must be prepared with --hu, got slices without HU"
        check(self.has_hounsfield, f"{rule}: run `ildfv prepare` again with --hu")
        return self._read("hu", indices, (SIZE, SIZE), np.int16)[:, None]

    def densities(self) -> np.ndarray:
        """Densitometry of the lung of every slice, float32 (N, 36), see `scans.density`.

        Raises `InputError` for a part of format 1, which has none.
        """
        found = []
        for name in self.names:
            with self.parts.open(name) as file:
                check(
                    "density" in file,
                    f"{self.parts.path(name)} must contain lung densities for baselines, got a part of format 1: "
                    "prepare the scans into a new workspace",
                )
                found.append(file["density"][()])
        return np.concatenate(found)

    @property
    def stored_lung_masks(self) -> int:
        """The number of slices with a stored lung mask. The built-in rule finds the lung on the other slices."""
        return int(self.sizes[np.array(self._masked)].sum())

    @property
    def given_lung_masks(self) -> int:
        """The number of slices whose lung masks the user gave; on the others, a rule or lungmask found the lung."""
        return int(self.sizes[np.array(self._given_masks)].sum()) if self.preparation.lungs == RULE else 0

    @property
    def grey(self) -> Grey | None:
        """The HU of the grey levels if the slices are images; None for scans in HU.

        InputError: there are scans and images, or images with different windows.
        """
        found = list(dict.fromkeys(self._greys))
        names = ["scans in HU" if grey is None else f"images with {grey.option}" for grey in found]
        rule = "all slices must be of scans in HU, or of images with the same --grey"
        check(len(found) == 1, f"{rule}, got {' and '.join(names)}: prepare each kind into its own workspace")
        return found[0]

    def lung_masks(self, part: int) -> np.ndarray | None:
        """Lung of the slices of a part, one bit per prepared pixel, uint8 (m, 6272); None if the built-in rule applies.

        Masks are stored if the user gave them, lungmask computed them, or the scan is an image.
        """
        if not self._masked[part]:
            return None
        with self.parts.open(self.names[part]) as file:
            packed = file["lung_masks"][()]
        shape = (int(self.sizes[part]), SIZE * SIZE // 8)
        rule = f"lung_masks of {self.names[part]} must be uint8 {shape}"
        valid = (packed.dtype, packed.shape) == (np.uint8, shape)
        check(valid, f"{rule}, got {packed.dtype} {packed.shape}: {MEND}")
        return packed

    def _reset(self) -> None:
        """Resets the open files and the lock, also in a forked child, which must not share HDF5 handles."""
        self._open: OrderedDict[str, h5py.File] = OrderedDict()
        self._read_lock = threading.Lock()  # another thread could close a file that is being read
        self._pid = os.getpid()

    def _each(self, attribute: str) -> np.ndarray:
        """An attribute of the scans, repeated for each of their slices."""
        # Not cached: the hashes of 240,000 slices take 30 MB.
        return np.repeat(self._scans[attribute], self.sizes)

    def _read(self, dataset: str, indices, shape: tuple[int, ...], dtype: type = np.uint8) -> np.ndarray:
        """The items of a dataset at these slices, in the order of `indices`."""
        indices = np.asarray(indices)
        integers = indices.ndim == 1 and (indices.size == 0 or indices.dtype.kind in "iu")
        check(integers, f"slice indices must be a list of integers, got {indices.dtype} of shape {indices.shape}")
        indices = indices.astype(np.int64)
        if indices.size and (indices.min() < 0 or indices.max() >= len(self)):
            raise InputError(f"slice indices must be in [0, {len(self)}), got {indices.min()} … {indices.max()}")
        if self._pid != os.getpid():
            self._reset()
        unique, back = np.unique(indices, return_inverse=True)
        part_of = np.searchsorted(self.starts, unique, side="right") - 1
        # Consecutive slices are read together: h5py takes 60 times as long for a list of indices as for a range.
        edges = np.flatnonzero((np.diff(unique) > 1) | (np.diff(part_of) > 0)) + 1
        out: np.ndarray = np.empty((len(unique), *shape), dtype)
        for start, stop in pairwise([0, *edges, len(unique)] if len(unique) else []):
            part, first = part_of[start], unique[start] - self.starts[part_of[start]]
            try:
                with self._read_lock:
                    out[start:stop] = self._file(self.names[part])[dataset][first : first + stop - start]
            except DAMAGE as error:  # an HDF5 checksum did not match, or the disk failed
                path = self.parts.path(self.names[part])
                raise InputError(f"{path} must be intact, got a corrupt file: {MEND}") from error
        return out if np.array_equal(unique, indices) else out[back]

    def _file(self, name: str) -> h5py.File:
        """The open file of a part. The least recently used file is closed if too many are open."""
        if name not in self._open:
            if len(self._open) >= OPEN_PARTS:
                self._open.popitem(last=False)[1].close()
            self._open[name] = self.parts.file(name)
        self._open.move_to_end(name)
        return self._open[name]
