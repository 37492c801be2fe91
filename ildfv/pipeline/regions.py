"""The region in which descriptors are pooled: the whole slice, the body or the lung.

Masks are computed once per workspace and stored in regions/<name>/, one bit per pixel of a prepared slice, in the same
parts as the slices. The weight of a descriptor is the fraction of its receptive field that is inside the region.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from ildfv.pipeline.choices import LUNG, check_region_name
from ildfv.pipeline.write_parts import Made, write_parts
from ildfv.progress import SILENT, Progress
from ildfv.scans.body import body_mask
from ildfv.scans.prepared_lungs import lungs, refuse_unknown_lungs
from ildfv.scans.windows import NORMAL, SIZE, WINDOWS
from ildfv.store.parts import Parts

FOLDER = "regions"
READ = 32  # number of slices whose masks are computed at once
KEPT_PARTS = 8  # number of parts whose masks are kept in memory, up to 4 MB each

Weights = Callable[[np.ndarray], np.ndarray]  # from slice indices (m,) to the weights of their descriptors (m, n)


def check_region(region: str, method: str) -> None:
    """Raises InputError if the region or the method of its mask is unknown, or the method's package is missing."""
    check_region_name(region)
    if region == LUNG:
        refuse_unknown_lungs(method)


class Region:
    """The masks of a region for all slices.

    Parameters
    ----------
    root : path
        The workspace.
    slices : Slices
        The slices of the workspace.
    region : {"body", "lung"}
    method : {"rule", "lungmask"}
        Method that finds the lungs, see `scans.prepared_lungs`. With "rule", masks that `prepare` stored (from the
        user, or from images) are used instead, if there are any.
    """

    def __init__(self, root: Path, slices, region: str, method: str = "rule"):
        check_region(region, method)
        self.slices, self.region, self.method = slices, region, method
        self.folder = Path(root) / FOLDER / (f"{region}-{method}" if region == LUNG else region)
        self._part = lru_cache(maxsize=KEPT_PARTS)(self._read)

    def write(self, progress: Progress = SILENT) -> None:
        """Computes and stores the masks that are missing."""
        write_parts(self.folder, self.slices, self._made, label=f"Masks of the {self.region}", progress=progress)

    def masks(self, indices: np.ndarray) -> np.ndarray:
        """The masks of slices, bool (m, 224, 224)."""
        starts = self.slices.starts
        of = np.searchsorted(starts, indices, side="right") - 1
        packed = [self._part(int(part))[index - starts[part]] for part, index in zip(of, indices, strict=True)]
        return np.unpackbits(np.stack(packed), axis=1).reshape(-1, SIZE, SIZE).astype(bool)

    def weights(self, fields) -> Weights:
        """The function from slice indices to the weights of descriptors with these receptive fields."""
        return lambda indices: fields.shares(self.masks(np.asarray(indices)))

    def _read(self, part: int) -> np.ndarray:
        parts = Parts(self.folder)
        with parts.open(self.slices.names[part]) as file:
            return file["mask"][()]

    def _made(self, parts: Sequence[int]) -> Made:
        starts = self.slices.starts
        for part in parts:
            stored = self.slices.lung_masks(part) if self.region == LUNG and self.method == "rule" else None
            if stored is not None:
                yield {"mask": stored}
                continue
            every = np.arange(starts[part], starts[part + 1])
            masks = [self._computed(every[i : i + READ]) for i in range(0, len(every), READ)]
            yield {"mask": np.packbits(np.concatenate(masks).reshape(len(every), -1), axis=1)}

    def _computed(self, indices: np.ndarray) -> np.ndarray:
        if self.region == LUNG:
            return lungs(self.slices, indices, self.method)
        low, high = WINDOWS[NORMAL]
        hu = low + self.slices.images(indices)[:, NORMAL].astype(np.float32) * ((high - low) / 255)
        return np.stack([body_mask(one) for one in hu])
