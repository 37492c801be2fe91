"""Label maps of the patch baseline, whose network is applied to a window that slides over the lung of a slice.

The patch baseline is a network that classifies small patches (`train.patches`). Sizes are those of the paper, in pixels
of a 512×512 grid. Prepared slices have 224×224 pixels.
"""

from __future__ import annotations

import numpy as np
import torch

from ildfv.patterns import PATTERNS
from ildfv.scans.windows import GRID, SIZE
from ildfv.train.networks import Network
from ildfv.train.patches import cut, enlarged

STEP = 10  # distance between window centres, pixels of a 512×512 grid
BATCH = 512  # patches per forward pass


@torch.inference_mode()
def label_map(network: Network, image: np.ndarray, lung: np.ndarray, *, device="cpu") -> tuple[np.ndarray, int]:
    """(label map of one slice, number of patches).

    The label map is uint8 (224, 224): pattern index + 1, or 0 for healthy lung and outside the lung. The window moves
    by 10 pixels of a 512×512 grid. Each lung pixel gets the class of the nearest window: the pattern with the
    highest score if that score is positive, otherwise healthy. Windows whose centre is outside the lung are not
    classified and count as healthy. image: uint8 (3, 224, 224). lung: mask of the lung, bool (224, 224).
    """
    positions = np.arange(STEP / 2, GRID, STEP) * SIZE / GRID  # (51,), on the prepared slice
    nearest = np.abs(np.arange(SIZE)[:, None] + 0.5 - positions).argmin(axis=1)  # (224,)
    where = positions.astype(np.int64)
    answers = np.zeros((len(where), len(where)), np.uint8)
    rows, columns = np.nonzero(lung[np.ix_(where, where)])
    centres = np.stack([where[rows], where[columns]], axis=1)  # (p, 2)
    for start in range(0, len(centres), BATCH):
        patches = enlarged(cut(image, centres[start : start + BATCH]))
        f = network(torch.from_numpy(patches).to(device)).float()
        best, pattern = f.max(dim=1)
        found = torch.where(best > 0, pattern + 1, 0).cpu().numpy()
        answers[rows[start : start + BATCH], columns[start : start + BATCH]] = found
    return answers[np.ix_(nearest, nearest)] * lung.astype(np.uint8), len(centres)


def pattern_counts(labels: np.ndarray) -> np.ndarray:
    """The scores of the patch baseline: the number of pixels of each pattern on a 512×512 grid, float (4,)."""
    return np.bincount(labels.ravel(), minlength=len(PATTERNS) + 1)[1:] * (GRID / SIZE) ** 2
