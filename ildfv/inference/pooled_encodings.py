"""The encodings of a predictor: descriptors pooled in a region, as Fisher vectors."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ildfv.inference.batch import SliceBatch
from ildfv.inference.contributions import raw_sizes
from ildfv.inference.heads import FisherEncoding, FisherHead
from ildfv.inference.layers import Layers
from ildfv.inference.schema import PredictorInfo
from ildfv.store.models import part_of


class Texture(NamedTuple):
    """Two measures of how well an encoding describes m slices; NaN for a slice without descriptors in its region.

    likelihood: mean log likelihood per descriptor under the mixture, (m,). residual: the part of the Fisher vector that
    the PCA does not represent (`FisherEncoding.residuals`), (m,).
    """

    likelihood: np.ndarray
    residual: np.ndarray


class PooledEncodings:
    """The encodings of a predictor, applied to one batch of b prepared slices at a time.

    tensors: the tensors of the predictor. layers: its layers.
    """

    def __init__(self, info: PredictorInfo, tensors: Mapping[str, np.ndarray], layers: Layers):
        self.info, self.layers = info, layers
        self._tensors = dict(tensors)

    @cached_property
    def fisher(self) -> dict[str, FisherEncoding]:
        """The models of each encoding, by name."""
        return {
            name: FisherEncoding.restored(
                one, {part: part_of(self._tensors, f"encoding.{name}.{part}") for part in ("mixture", "pca")}
            )
            for name, one in self.info.encodings.items()
        }

    def weights(self, encoding: str, batch: SliceBatch) -> np.ndarray | None:
        """The weight of each descriptor, (b, n), for pooling in the encoding's region; None for the whole slice."""
        info = self.info.encodings[encoding]
        inside = batch.masks.of(info.region, info.lungs)
        return None if inside is None else self.layers.fields(encoding).shares(inside)

    def vectors(self, maps: Mapping[str, Any], batch: SliceBatch) -> dict[str, np.ndarray]:
        """The Fisher vectors (b, 2·k·d) by encoding. maps: by encoding, as `Layers.of` returns them."""
        return {name: one.vectors(maps[name], self.weights(name, batch)) for name, one in self.fisher.items()}

    def contributions(self, head: FisherHead, batch: SliceBatch) -> np.ndarray:
        """The contribution maps of a head, float64 (b, C, 224, 224)."""
        total = np.zeros((len(batch), len(self.info.patterns), *batch.images.shape[2:]))
        for part in head.parts:
            maps = self.layers.maps(part.name, batch.images, batch.hu)
            values = part.contributions(maps, self.weights(part.name, batch))
            planes = self.layers.fields(part.name).spread(values.transpose(0, 2, 1).reshape(-1, values.shape[1]))
            total += planes.reshape(total.shape)
        return total

    def texture(self, encoding: str, batch: SliceBatch) -> Texture:
        """The measures of how well the mixture and the PCA of an encoding describe each slice."""
        from ildfv.kernels import moments

        maps, weights = self.layers.maps(encoding, batch.images, batch.hu), self.weights(encoding, batch)
        total = maps.shape[2] * maps.shape[3] if weights is None else weights.sum(axis=1)
        mixture = self.fisher[encoding].fisher.fitted_mixture()
        sums = np.asarray(moments(maps, mixture, weights=weights).log_likelihood, dtype=np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            likelihood = np.where(np.asarray(total) > 0, sums / total, np.nan)
        models = self.fisher[encoding]
        return Texture(likelihood, models.residuals(models.vectors(maps, weights)))

    def raw_sizes(self, encoding: str, batch: SliceBatch) -> np.ndarray:
        """Absolute elements of each slice's Fisher vector before power and L2 normalisation, (b, 2·k·d)."""
        maps = self.layers.maps(encoding, batch.images, batch.hu)
        return raw_sizes(self.fisher[encoding].fisher, maps, self.weights(encoding, batch))
