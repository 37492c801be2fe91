"""The patches on which the patch baseline is trained: a small CNN on 32×32 patches, applied as a sliding window.

Sizes are the paper's, in pixels of the original 512×512 grid. Prepared slices have 224×224 pixels, so a patch covers
14×14 of them and is enlarged to 32×32 for the network. The network and the number of patches are as on the original
grid, but the finest detail is lost.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from ildfv.errors import check
from ildfv.patterns import PATTERNS
from ildfv.progress import SILENT, Progress
from ildfv.scans.windows import GRID, SIZE
from ildfv.store.atomic import key_of
from ildfv.train.data import READ

PATCH = 32  # pixels of the original grid
SIDE = PATCH * SIZE // GRID  # pixels along a side of a patch on a prepared slice: 14
MAJORITY = SIDE * SIDE // 2  # minimum number of pixels of a present pattern in a patch: the `threshold` of training


class PatchSet:
    """Patches of labelled slices, in memory: a slice set for `train` with network="patch" and threshold=MAJORITY.

    Up to `per_slice` patches with their centre in the lung are drawn from each slice: the same number for each pattern
    that is present and for healthy lung. `counts`: pixels of each pattern in a patch. `indices`: the slice of each
    patch. lungs: indices → lung masks, bool (m, 224, 224).
    """

    def __init__(self, slices, indices, lungs, *, per_slice: int = 16, seed: int = 0, progress: Progress = SILENT):
        check(per_slice >= 1, f"per_slice must be at least 1, got {per_slice}")
        indices = np.sort(np.asarray(indices, dtype=np.int64))
        patches, counts, source = [], [], []
        with progress.task("Cutting patches", total=len(indices)) as advance:
            for start in range(0, len(indices), READ):
                some = indices[start : start + READ]
                for index, image, labels, lung in zip(
                    some, slices.images(some), slices.label_maps(some), lungs(some), strict=True
                ):
                    centres = _draw(labels, lung, per_slice, np.random.default_rng([seed, int(index)]))
                    patches.append(cut(image, centres))
                    inside = cut(labels[None], centres)[:, 0]  # (p, 14, 14)
                    counts.append(np.stack([(inside == k + 1).sum(axis=(1, 2)) for k in range(len(PATTERNS))], axis=1))
                    source.append(np.full(len(centres), index))
                advance(len(some))
        check(sum(map(len, source)) > 0, "patches must come from slices that contain lung, got none")
        self.data = np.concatenate(patches)  # uint8 (N, 3, 14, 14)
        self.counts = np.concatenate(counts).astype(np.int32)  # (N, 4)
        self.indices = np.concatenate(source)  # (N,)
        self.lung: np.ndarray | None = None
        self.patients = np.asarray(slices.patients)[self.indices]  # (N,)
        self.key = key_of(slices.key, indices.tolist(), per_slice, seed)

    def __len__(self) -> int:
        return len(self.data)

    def images(self, indices) -> np.ndarray:
        """uint8 (m, 3, 32, 32)."""
        return enlarged(self.data[np.asarray(indices, dtype=np.int64)])

    def of(self, indices) -> np.ndarray:
        """Indices of the patches of these slices."""
        return np.flatnonzero(np.isin(self.indices, indices))


def cut(planes: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Patches (p, c, 14, 14) of planes (c, 224, 224) around centres (p, 2), row and column, with repeated edges."""
    padded = np.pad(planes, ((0, 0), (SIDE, SIDE), (SIDE, SIDE)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (SIDE, SIDE), axis=(1, 2))
    top, left = (np.asarray(centres, dtype=np.int64).reshape(-1, 2) + SIDE - SIDE // 2).T
    return windows[:, top, left].transpose(1, 0, 2, 3)


def enlarged(patches: np.ndarray) -> np.ndarray:
    """Patches enlarged to 32×32 pixels by bilinear interpolation, uint8."""
    x = torch.from_numpy(np.ascontiguousarray(patches)).float()
    return F.interpolate(x, size=(PATCH, PATCH), mode="bilinear", align_corners=False).round().byte().numpy()


def _draw(labels: np.ndarray, lung: np.ndarray, per_slice: int, rng: np.random.Generator) -> np.ndarray:
    """Centres (p, 2) in the lung, the same number for each pattern that is present and for healthy lung."""
    kinds = [kind for kind in range(len(PATTERNS) + 1) if (lung & (labels == kind)).any()]
    chosen = []
    for i, kind in enumerate(kinds):
        places = np.argwhere(lung & (labels == kind))  # (q, 2)
        share = per_slice // len(kinds) + (i < per_slice % len(kinds))
        chosen.append(places[rng.choice(len(places), min(share, len(places)), replace=False)])
    return np.concatenate(chosen) if chosen else np.zeros((0, 2), np.int64)
