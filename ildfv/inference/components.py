"""Interpretation of mixture components: their contributions to the scores, and the nearest training patches.

The contributions are statistics over many slices and contain no image data. The patches are images of patients. They
are therefore not part of a predictor, but are computed from the slices of the study.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ildfv.arrays import to_numpy
from ildfv.estimators.fisher_vectors import FittedFisher, FittedMixture
from ildfv.inference.contributions import component_scores
from ildfv.scans.windows import NORMAL, SIZE

BATCH = 16
CONTEXT = 48  # minimum side of a picture, pixels; the receptive field of conv1 alone, 11 pixels, would be too small
FRAME = (230, 97, 1)  # RGB


@dataclass(frozen=True)
class Patch:
    """A location of a slice whose descriptor is near the mean of a component.

    index: index of the slice. rows, columns: first pixel, and one past the last pixel, of the location's receptive
    field. distance: Mahalanobis distance of the descriptor from the mean, divided by √d.
    """

    index: int
    rows: tuple[int, int]
    columns: tuple[int, int]
    distance: float


def nearest_patches(
    mixture: FittedMixture,
    maps: Callable,
    fields,
    read: Callable[[np.ndarray], np.ndarray],
    indices: np.ndarray,
    owners: Sequence[str],
    *,
    count: int = 8,
) -> list[list[Patch]]:
    """For each component, the patches whose descriptors are nearest to its mean: nearest first, one per patient.

    Parameters
    ----------
    mixture : GaussianMixture, or any object with the attributes `weights_`, `means_` and `variances_`
    maps : function
        Images uint8 (b, 3, 224, 224) → (b, d, h, w).
    fields : ReceptiveFields
        The receptive field of each location of the maps.
    read : function
        Slice indices (b,) → images.
    indices : ndarray of shape (m,)
        The slices to search.
    owners : sequence of m str
        Patient of each slice.
    count : int
        Maximum number of patches per component.
    """
    best: list[dict[str, Patch]] = [{} for _ in mixture.weights_]
    for start in range(0, len(indices), BATCH):
        some = indices[start : start + BATCH]
        found = np.asarray(to_numpy(maps(read(some))), dtype=np.float64)  # (b, d, h, w)
        descriptors = np.moveaxis(found.reshape(*found.shape[:2], -1), 1, 2)  # (b, n, d)
        for index, x, owner in zip(some.tolist(), descriptors, owners[start : start + BATCH], strict=True):
            distances = _distances(x, mixture)  # (n, k)
            for k, place in enumerate(distances.argmin(axis=0).tolist()):
                distance, known = float(distances[place, k]), best[k].get(owner)
                if known is None or distance < known.distance:
                    row, column = divmod(place, len(fields.columns))
                    best[k][owner] = Patch(index, _range(fields.rows[row]), _range(fields.columns[column]), distance)
    return [sorted(found.values(), key=lambda patch: (patch.distance, patch.index))[:count] for found in best]


def mean_component_scores(
    fisher: FittedFisher,
    coefficients: np.ndarray,
    maps: Callable,
    read: Callable[[np.ndarray], np.ndarray],
    indices: np.ndarray,
    weights: Callable[[np.ndarray], np.ndarray | None] = lambda indices: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, over slices, of the part of each score that each component contributes.

    Both arrays are float64, (C, k).

    Parameters
    ----------
    fisher, coefficients
        As for `contributions`.
    maps, read, indices
        As for `nearest_patches`.
    weights : function, optional
        Slice indices (b,) → weights of their descriptors (b, n), or None.
    """
    found = [
        component_scores(fisher, coefficients, maps(read(some)), weights(some))
        for some in np.array_split(indices, max(1, -(-len(indices) // BATCH)))
    ]
    every = np.concatenate(found)  # (m, C, k)
    return every.mean(axis=0), every.std(axis=0)


def picture(image: np.ndarray, patch: Patch) -> np.ndarray:
    """The patch with its surroundings in the normal window, uint8 (h, w, 3). A frame marks its receptive field.

    image: the prepared slice, uint8 (3, 224, 224).
    """
    grey = np.repeat(image[NORMAL][..., None], 3, axis=2)
    (top, bottom), (left, right) = patch.rows, patch.columns
    for r, columns in ((max(top - 1, 0), slice(left, right)), (min(bottom, SIZE - 1), slice(left, right))):
        grey[r, columns] = FRAME
    for rows, c in ((slice(top, bottom), max(left - 1, 0)), (slice(top, bottom), min(right, SIZE - 1))):
        grey[rows, c] = FRAME
    return grey[_around(top, bottom), _around(left, right)]


def _distances(x: np.ndarray, mixture: FittedMixture) -> np.ndarray:
    """The distance ‖(x − mean_k)/sd_k‖/√d of each descriptor from each component, (n, k)."""
    inverse = 1 / np.asarray(mixture.variances_, np.float64)  # (k, d)
    means = np.asarray(mixture.means_, np.float64)
    centre = means.mean(axis=0)  # centring keeps the squares small, which limits cancellation
    x, means = x - centre, means - centre
    squares = x**2 @ inverse.T - 2 * x @ (means * inverse).T + (means**2 * inverse).sum(axis=1)
    return np.sqrt(np.maximum(squares, 0) / x.shape[1])


def _range(seen: np.ndarray) -> tuple[int, int]:
    """The first pixel, and one past the last pixel, where `seen` is true."""
    pixels = np.flatnonzero(seen)
    return int(pixels[0]), int(pixels[-1]) + 1


def _around(first: int, last: int) -> slice:
    """A range of at least CONTEXT pixels around the given range, within the slice."""
    side = max(CONTEXT, last - first + 8)
    start = min(max(0, (first + last - side) // 2), max(0, SIZE - side))
    return slice(start, start + side)
