"""Layers that need no network, and functions that also apply to the layers of networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ildfv import distributed
from ildfv.datasets.slice_store import Slices
from ildfv.pipeline.encodings import Encoding
from ildfv.pipeline.regions import Weights
from ildfv.streaming.maps import MapStream, batches

if TYPE_CHECKING:
    from ildfv.train.descriptors import Descriptors

UNTRAINED = ("filters", "patches")  # names of the layers in `train.descriptors`
FOLDER = "descriptors"  # subfolder of an encoding
# Receptive fields by architecture and layer. Computing them again for every fold would take longer than encoding.
_FIELDS: dict[tuple[str, str], Any] = {}


def descriptors(layer: str, device: str) -> Descriptors:
    """A callable that, like `Activations`, returns the descriptors of images. layer: a layer in `UNTRAINED`."""
    from ildfv.train.descriptors import KINDS

    return KINDS[layer](device)


class InHounsfield:
    """The given slices with images in HU, int16 (m, 1, 224, 224). All other attributes are unchanged."""

    def __init__(self, slices: Slices):
        self.windowed = slices

    def __len__(self) -> int:
        return len(self.windowed)

    def __getattr__(self, name: str):
        return getattr(self.windowed, name)

    def images(self, indices) -> np.ndarray:
        """The images of the slices in HU, int16 (m, 1, 224, 224)."""
        return self.windowed.hounsfield(indices)


def images_of(encoding: Encoding, slices: Slices) -> Slices | InHounsfield:
    """The slices with the images that the layer of an encoding reads: HU or windows."""
    return InHounsfield(slices) if encoding.inputs.get("hounsfield") else slices


def fields_of(activations):
    """The receptive fields of a layer's locations."""
    from ildfv.train.descriptors import Descriptors
    from ildfv.train.receptive import receptive_fields

    if isinstance(activations, Descriptors):
        return activations.fields
    key = (activations.network.name, activations.layer)  # fields depend only on the architecture
    if key not in _FIELDS:
        _FIELDS[key] = receptive_fields(activations.network, activations.layer)
    return _FIELDS[key]


def prepare_descriptors(
    folder: Path, slices: Slices | InHounsfield, activations, indices: np.ndarray, settings, weights: Weights | None
) -> None:
    """Fits the parameters of a layer without a network on the slices `indices`, unless they are already fitted."""
    from ildfv.train.descriptors import Descriptors

    if not isinstance(activations, Descriptors):
        return
    stream = MapStream(slices, activations, batches(slices, indices), weights=weights)
    seed = settings.seed or 0
    if distributed.is_main():
        activations.prepare(folder / FOLDER, lambda size: stream.sample(size, seed), seed)
    distributed.barrier()
    if not distributed.is_main():
        activations.prepare(folder / FOLDER, lambda size: stream.sample(size, seed), seed)
