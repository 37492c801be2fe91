"""Projections of new slices with the models of a finished encoding, computed as in `ildfv encode`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ildfv.arrays import to_numpy
from ildfv.errors import InputError, check
from ildfv.estimators.fisher import FisherVector
from ildfv.estimators.mixture import GaussianMixture
from ildfv.estimators.pca import PCA
from ildfv.pipeline.choices import BODY, FROZEN, SLICE
from ildfv.pipeline.descriptors import FOLDER, UNTRAINED, descriptors, fields_of
from ildfv.pipeline.encode_again import encode_again
from ildfv.pipeline.encodings import Encoding
from ildfv.pipeline.frozen import frozen_layer, frozen_network
from ildfv.pipeline.recorded_weights import recorded_weights
from ildfv.pipeline.split import load_folds, split_slices
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT, Progress
from ildfv.scans.body import body_mask
from ildfv.scans.prepared_lungs import lungs_of
from ildfv.scans.windows import NORMAL, WINDOWS
from ildfv.store.atomic import key_of, sha256
from ildfv.store.models import TENSORS, has_model, load_model

if TYPE_CHECKING:
    from ildfv.train.activations import Activations
    from ildfv.train.descriptors import Descriptors
    from ildfv.train.receptive import ReceptiveFields

BATCH = 16


@dataclass(frozen=True)
class Projector:
    """Computes the PCA projections of prepared slices with the models of an encoding.

    maps: function from images to maps (b, d, h, w). fields: receptive fields of the locations of the maps.
    """

    encoding: Encoding
    maps: Activations | Descriptors
    fields: ReceptiveFields
    fisher: FisherVector
    pca: PCA

    def weights(self, images: np.ndarray, pixel_area: float, lung: np.ndarray | None = None) -> np.ndarray | None:
        """The weight of each descriptor, (m, n), for pooling in the encoding's region; None for the whole slice.

        lung: lung masks, bool (m, 224, 224), which replace those of the built-in rule. They are ignored if the encoding
        was made with another method that finds the lung, or in another region.
        """
        region = self.encoding.region
        if region == SLICE:
            return None
        if region == BODY:
            low, high = WINDOWS[NORMAL]
            hu = low + images[:, NORMAL].astype(np.float32) * ((high - low) / 255)
            masks = np.stack([body_mask(one) for one in hu])
        elif lung is not None and self.encoding.inputs.get("lungs", "rule") == "rule":
            masks = lung
        else:
            area = np.full(len(images), pixel_area)
            masks = lungs_of(images, area, self.encoding.inputs.get("lungs", "rule"))
        return self.fields.shares(masks)

    @property
    def reads_hounsfield(self) -> bool:
        """Whether the layer reads slices in HU (`prepare --hu`) instead of windows."""
        return bool(self.encoding.inputs.get("hounsfield", False))

    def __call__(
        self, images: np.ndarray, pixel_area: float, hu: np.ndarray | None = None, lung: np.ndarray | None = None
    ) -> np.ndarray:
        """Projections, float32 (m, p), of prepared slices, uint8 (m, 3, 224, 224).

        pixel_area: area of a pixel of a 512×512 grid, mm². hu: the slices in HU, int16 (m, 1, 224, 224), needed if
        `reads_hounsfield` is true. lung: as for `weights`.
        """
        read = hu if self.reads_hounsfield else images
        if read is None:
            raise InputError(f"hu must be given, because {self.encoding.folder} reads slices in HU, got none")
        found = []
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            maps = self.maps(read[start : start + BATCH])
            some = None if lung is None else lung[start : start + BATCH]
            vectors = to_numpy(self.fisher.transform(maps, weights=self.weights(batch, pixel_area, some)))
            found.append(self.pca.transform(vectors.astype(np.float32)).astype(np.float32))
        return np.concatenate(found)


def projector(
    workspace: Workspace,
    encoding: Encoding,
    device: str = "cpu",
    weights: Sequence[Path] = (),
    progress: Progress = SILENT,
) -> Projector:
    """The projector of an encoding by Fisher vectors.

    weights: files with the weights of frozen networks. Weights that are installed with a package need not be given.

    Raises
    ------
    InputError
        The encoding has another encoder, its network is missing or was trained again, weights are given although it has
        no frozen network, neither a given nor an installed file has the weights of its frozen network, or the fit
        slices have changed.
    """
    name = encoding.info.get("encoder", "fisher")
    check(
        name == "fisher" and has_model(encoding.folder / "mixture"),
        f"{encoding.folder} must be an encoding by Fisher vectors, got {name}: choose another with --layer",
    )
    maps = _maps(workspace, encoding, device, weights, progress)
    mixture = GaussianMixture.from_tensors(*load_model(encoding.folder / "mixture"))
    return Projector(
        encoding,
        maps,
        fields_of(maps),
        FisherVector(mixture, improved=encoding.inputs.get("improved", True)),
        PCA.from_tensors(*load_model(encoding.folder / "pca")),
    )


def _maps(
    workspace: Workspace, encoding: Encoding, device: str, weights: Sequence[Path], progress: Progress
) -> Activations | Descriptors:
    from ildfv.train.activations import Activations
    from ildfv.train.networks import load

    made_by = str(encoding.inputs.get("model", ""))
    if made_by.endswith(FROZEN):
        return _frozen(workspace, encoding, made_by.removesuffix(FROZEN), device, weights, progress)
    rule = f"{encoding.folder} was not made with a frozen network, so weights must be omitted"
    check(not weights, f"{rule}, got {', '.join(map(str, weights))}: omit --weights")
    if encoding.layer in UNTRAINED:
        maps = descriptors(encoding.layer, device)
        maps.prepare(encoding.folder / FOLDER, _nothing_to_sample, 0)
        return maps
    folder = workspace.models_dir / made_by
    check(
        (folder / TENSORS).exists(),
        f"{encoding.folder} must be made with a network of this workspace, got {made_by}: choose another with --layer",
    )
    same = sha256(folder / TENSORS) == encoding.inputs["model_sha256"]
    rule = f"{encoding.folder} must be made with {folder}, which was trained again"
    check(same, f"{rule}: run `{encode_again(encoding)}`")
    return Activations(load(folder, device), encoding.layer)


def _frozen(
    workspace: Workspace, encoding: Encoding, network: str, device: str, weights: Sequence[Path], progress: Progress
) -> Activations:
    from ildfv.train.activations import Activations

    file = recorded_weights(network, encoding.inputs["model_sha256"], weights, encoding.folder)
    slices = workspace.slices()
    fit = split_slices(slices, load_folds(workspace), encoding.fold).fit
    same = encoding.inputs["fit"] == key_of(fit.tolist())
    rule = f"{encoding.folder} was made from fit slices other than the current ones"
    check(same, f"{rule}: run `{encode_again(encoding)}`")
    frozen = frozen_network(network, file, slices, fit, device, progress)
    return Activations(frozen, frozen_layer(network, frozen.layers, encoding.layer))


def _nothing_to_sample(size: int) -> np.ndarray:
    raise AssertionError("the descriptors of a finished encoding are fitted")
