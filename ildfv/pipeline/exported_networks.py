"""The networks of an exported predictor: trained in the workspace, or frozen with weights from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.errors import check
from ildfv.inference import schema
from ildfv.pipeline.choices import FROZEN
from ildfv.pipeline.encode_again import encode_again
from ildfv.pipeline.encodings import Encoding
from ildfv.pipeline.frozen import frozen_layer, frozen_name, frozen_network
from ildfv.pipeline.recorded_weights import recorded_weights
from ildfv.pipeline.train import newest_model
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import Progress
from ildfv.store.atomic import sha256
from ildfv.store.models import TENSORS, load_info, prefixed

if TYPE_CHECKING:
    from ildfv.train.activations import Activations
    from ildfv.train.networks import Network


@dataclass
class Networks:
    """The networks that an exported predictor needs.

    weights: files with the weights of frozen networks. included: whether the predictor contains these weights. found:
    the added networks, by name.
    """

    workspace: Workspace
    slices: Slices
    weights: Sequence[Path]
    included: bool
    progress: Progress
    found: dict[str, schema.Network] = field(default_factory=dict)
    _networks: dict[str, Network] = field(default_factory=dict)
    _whole: set[str] = field(default_factory=set)

    def add(self, encoding: Encoding, fit: np.ndarray) -> tuple[str, str]:
        """Adds the network of an encoding, unless it is already added. Returns (name of the network, layer).

        fit: slices from which the input normalisation of a frozen network is computed. InputError: the network has
        changed, or the weights of a frozen network are missing.
        """
        made_by, digest = encoding.inputs["model"], encoding.inputs["model_sha256"]
        if made_by.endswith(FROZEN):
            return self._add_frozen(encoding, made_by.removesuffix(FROZEN), digest, fit)
        name = made_by.partition("/")[0]
        if name not in self.found:
            folder = newest_model(self.workspace, encoding.fold, name)
            check(
                sha256(folder / TENSORS) == digest,
                f"{encoding.folder} must be made with the network in {folder}, which has changed: "
                f"run `{encode_again(encoding)}`",
            )
            self._add_trained(name, folder)
        return name, encoding.layer

    def _add_trained(self, name: str, folder: Path) -> None:
        from ildfv.train.networks import load

        info = load_info(folder)
        self._networks[name] = load(folder)
        self.found[name] = schema.Network(architecture=info["network"], n_outputs=info["n_outputs"], layer=None)

    def _add_frozen(self, encoding: Encoding, architecture: str, digest: str, fit: np.ndarray) -> tuple[str, str]:
        name = frozen_name(architecture, digest[:8])
        if name not in self.found:
            file = recorded_weights(architecture, digest, self.weights, encoding.folder)
            check(
                self.included or file.suffix == ".safetensors",
                f"weights of {architecture} must be a safetensors file if the predictor does not contain them, got "
                f"{file.name}: add --include-weights",
            )
            network = frozen_network(architecture, file, self.slices, fit, "cpu", self.progress)
            self._networks[name] = network
            self.found[name] = schema.Network(
                architecture=architecture,
                n_outputs=network.n_outputs,
                layer=None,
                trained=False,
                weights_sha256=None if self.included else digest,
            )
        return name, frozen_layer(architecture, self._networks[name].layers, encoding.layer)

    def activations(self, name: str, layer: str) -> Activations:
        """The activations of a layer of an added network."""
        from ildfv.train.activations import Activations

        return Activations(self._networks[name], layer)

    def add_trained(self, fold: int, name: str) -> None:
        """Adds the trained network of this name, unless it is already added."""
        if name not in self.found:
            self._add_trained(name, newest_model(self.workspace, fold, name))

    def trained(self, fold: int, *, wanted: bool) -> list[str]:
        """Names of the added networks that were trained in the workspace.

        wanted: whether to add the newest trained network of the fold if none has been added.
        """
        names = [name for name, one in self.found.items() if one.trained]
        if not names and wanted:
            folder = newest_model(self.workspace, fold)
            self._add_trained(folder.parent.name, folder)
            names = [folder.parent.name]
        return names

    def keep_whole(self, name: str) -> None:
        """Marks a network whose outputs are a head, so that all its layers are exported."""
        self._whole.add(name)

    def finished(
        self, encodings: Mapping[str, schema.Encoding]
    ) -> tuple[dict[str, schema.Network], dict[str, np.ndarray]]:
        """(networks by name, tensors).

        A network ends at the deepest layer that `encodings` use, unless it is kept whole. If the weights of a frozen
        network are not included, the tensors contain only its mean and SD.
        """
        from ildfv.train.activations import Activations
        from ildfv.train.networks import tensors

        infos: dict[str, schema.Network] = {}
        values: dict[str, np.ndarray] = {}
        for name, info in self.found.items():
            network = self._networks[name]
            layers = [one.layer for one in encodings.values() if one.network == name]
            if name not in self._whole:
                deepest = max(layers, key=list(network.layers).index)
                info = info.model_copy(update={"layer": deepest})
                if info.weights_sha256 is None:
                    network = Activations(network, deepest).alone().network
            infos[name] = info
            stored = tensors(network)
            if info.weights_sha256 is not None:
                stored = {key: stored[key] for key in ("mean", "std")}
            values |= prefixed(f"network.{name}", stored)
        return infos, values
