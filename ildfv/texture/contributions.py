"""The exact contribution of each pixel of an image to the score of each class."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import zoom

from ildfv.inference.contributions import contributions
from ildfv.texture.classifier import TextureClassifier
from ildfv.texture.images import Picture


def contribution_maps(model: TextureClassifier, picture: Picture) -> np.ndarray:
    """Maps (C, h, w) that sum to the scores of an image minus the scores of a zero vector.

    The contribution of a location is distributed over the pixels of its cell in the map's grid, which is coarser for
    deep layers. The sum is exact. The cell is at the centre of the location's receptive field, which is larger.
    """
    encoder, functional = model.encoder_, model.head_.functional()  # (C, m)
    total = np.zeros((len(functional), *picture.shape))
    share = len(encoder.layers_) ** -0.5
    for layer, maps in encoder._maps(picture).items():
        fisher, decorrelation = encoder.fisher_[layer], encoder.decorrelations_[layer]
        rows = [decorrelation.transform(one.reshape(len(one), -1).T) for one in maps]
        found = contributions(fisher, functional[:, encoder.columns(layer)] * share, np.concatenate(rows)[None])[0]
        at = 0
        for one in maps:
            h, w = one.shape[1:]
            part = found[at : at + h * w].T.reshape(-1, h, w)
            at += h * w
            total += np.stack([_spread(values, picture.shape) for values in part])
    return total


def _spread(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The values (h', w') resized to (h, w), with the same sum."""
    factors = (shape[0] / values.shape[0], shape[1] / values.shape[1])
    resized = zoom(values, factors, order=0, grid_mode=True, mode="nearest")
    resized = resized[: shape[0], : shape[1]]
    resized = np.pad(resized, [(0, n - m) for n, m in zip(shape, resized.shape, strict=True)], mode="edge")
    total, wanted = resized.sum(), values.sum()
    return resized + (wanted - total) / resized.size if not np.isclose(total, wanted, rtol=1e-12, atol=0) else resized
