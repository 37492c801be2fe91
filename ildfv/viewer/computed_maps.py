"""Contribution maps of the scans of a workspace, computed by a predictor when they are first shown."""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from ildfv.counted import counted
from ildfv.datasets.slice_store import Slices
from ildfv.errors import check
from ildfv.inference.page import SMOOTHING
from ildfv.inference.predictor import Predictor
from ildfv.inference.stored_lung import stored_lung
from ildfv.patterns import PATTERNS
from ildfv.scans.preparation import check_same
from ildfv.scans.windows import GRID, SIZE
from ildfv.viewer.maps import KINDS, UNITS, Quantiser
from ildfv.viewer.scan import Maps

KIND = "contributions"
KEPT = 2  # number of scans whose maps are kept: the open scan and the compared scan
AT_ONCE = 16  # slices per batch, whose maps take 13 MB


class ComputedMaps:
    """Contribution maps of the scans in a workspace, for the head that `Predictor.explained` names.

    Parameters
    ----------
    folder : path
        The predictor.
    slices : Slices
        The prepared slices of the workspace.

    Raises
    ------
    InputError
        The folder is not a predictor, or the predictor has no Fisher vector head, has other patterns, or needs slices
        that are prepared in another way.
    """

    def __init__(self, folder: Path, slices: Slices):
        self.predictor, self._slices = Predictor.load(folder), slices
        head = self.predictor.explained
        check(head is not None, f"{folder} must have a Fisher vector head for contribution maps, got none")
        patterns = tuple(self.predictor.patterns)
        check(patterns == PATTERNS, f"{folder} must have the patterns {', '.join(PATTERNS)}, got {', '.join(patterns)}")
        what = f"{folder} must be used with slices that are prepared like its training slices,"
        check_same(self.predictor.info.preparation.options, slices.preparation, what)
        check(
            slices.has_hounsfield or not self.predictor.reads_hounsfield,
            f"{folder} needs slices in HU, got a workspace without them: run `ildfv prepare --hu`",
        )
        self.head = str(head)
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, list[tuple[float, list[bytes]]]] = OrderedDict()

    def of(self, part: int) -> list[Maps]:
        """The maps of the scan with the index `part`, one per pattern. Nothing is computed yet."""
        return [ComputedMap(self, part, c) for c in range(len(PATTERNS))]

    @property
    def note(self) -> str:
        """A note for the user on the predictor and its training data."""
        info = self.predictor.info
        patients = info.training.get("fit_patients")
        trained = "" if patients is None else f", which was trained on {counted(patients, 'patient')}"
        return (
            f"Contribution maps explain the score of {self.head} of predictor {self.predictor.checksum[:12]}{trained}. "
            "All displayed scores are from the systems of the workspace."
        )

    def quantised(self, part: int, pattern: int) -> tuple[float, list[bytes]]:
        """The value drawn in full colour and the compressed maps of a scan. The first call computes all patterns."""
        with self._lock:
            if part not in self._kept:
                self._kept[part] = self._computed(part)
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(part)
            return self._kept[part][pattern]

    def _computed(self, part: int) -> list[tuple[float, list[bytes]]]:
        first, last = int(self._slices.starts[part]), int(self._slices.starts[part + 1])
        area = float(self._slices.scans("paper_pixel_area")[part])
        per_cm2 = np.float32(100 / (area * (GRID / SIZE) ** 2))
        quantisers = [Quantiser() for _ in PATTERNS]
        for start in range(first, last, AT_ONCE):
            rows = np.arange(start, min(last, start + AT_ONCE))
            images = self._slices.images(rows)
            hu = self._slices.hounsfield(rows) if self.predictor.reads_hounsfield else None
            given = {"hu": hu, "lung": stored_lung(self._slices, rows)}
            maps = self.predictor.contributions(images, area, self.head, dtype=np.float32, **given)  # (b, C, h, w)
            for planes in maps:
                for quantiser, plane in zip(quantisers, planes, strict=True):
                    quantiser.add(ndimage.gaussian_filter(plane, SMOOTHING) * per_cm2)
        return [quantiser.finish() for quantiser in quantisers]


class ComputedMap:
    """The maps of one scan for one pattern."""

    kind, unit = KIND, UNITS[KIND]

    def __init__(self, maps: ComputedMaps, part: int, pattern: int):
        self._maps, self._part, self.pattern = maps, part, pattern
        self.title = f"{KINDS[KIND]} of {maps.head}"

    def describe(self) -> dict[str, Any]:
        """The grid of the maps and the value drawn in full colour. InputError: a prepared slice is damaged."""
        scale, _ = self._maps.quantised(self._part, self.pattern)
        return {"rows": SIZE, "columns": SIZE, "step": 1, "scale": scale}

    def read(self, z: int) -> np.ndarray:
        """The map of slice z, int8. InputError: a prepared slice is damaged."""
        _, slices = self._maps.quantised(self._part, self.pattern)
        return np.frombuffer(zlib.decompress(slices[z]), np.int8).reshape(SIZE, SIZE)
