"""The activation maps of all layers that a predictor needs and the outputs of its networks, in one pass per network."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ildfv.errors import InputError, check
from ildfv.inference.schema import CNN, Encoding, Network, PredictorInfo
from ildfv.store.atomic import sha256
from ildfv.store.models import part_of

if TYPE_CHECKING:
    import torch

    from ildfv.train import networks
    from ildfv.train.activations import Activations
    from ildfv.train.descriptors import Descriptors
    from ildfv.train.receptive import ReceptiveFields


class Layers:
    """The networks of a predictor, and its layers without a network, restored when they are first used.

    tensors: the tensors of the predictor. device: "cpu", "cuda" or "cuda:i". weights: files with the weights of the
    networks whose weights are not among the tensors. InputError: such a file is not given.
    """

    def __init__(self, info: PredictorInfo, tensors: Mapping[str, np.ndarray], device: str, weights=()):
        self.info, self.tensors, self.device = info, tensors, device
        self._files = {sha256(path): path for path in weights}
        self._networks: dict[str, networks.Network] = {}
        self._fields: dict[str, ReceptiveFields] = {}
        for name, network in info.networks.items():
            digest = network.weights_sha256
            check(
                digest is None or digest in self._files,
                f"the predictor does not contain the weights of its network {name} ({network.architecture}): give the "
                f"file with SHA-256 {digest} as --weights",
            )

    def of(
        self, images: np.ndarray, hu: np.ndarray | None = None
    ) -> tuple[dict[str, torch.Tensor], dict[str, np.ndarray]]:
        """(maps (b, d, h, w) by encoding, outputs float64 (b, C) by network) of images uint8 (b, 3, 224, 224).

        Only networks of CNN heads have outputs. hu: the same slices in HU, int16 (b, 1, 224, 224), for encodings that
        read HU. InputError: `hu` is needed and is missing or has the wrong type or shape.
        """
        maps: dict[str, torch.Tensor] = {}
        outputs: dict[str, np.ndarray] = {}
        for name in self.info.networks:
            by_layer, scores = self._passed(name, images)
            if scores is not None:
                outputs[name] = scores
            maps |= {key: by_layer[one.layer] for key, one in self.info.encodings.items() if one.network == name}
        for key, descriptors in self._descriptors.items():
            maps[key] = descriptors(self._read_by(key, images, hu))
        return maps, outputs

    def maps(self, encoding: str, images: np.ndarray, hu: np.ndarray | None = None) -> torch.Tensor:
        """The maps (b, d, h, w) of one encoding's layer. The parameters are described in `of`."""
        info = self.info.encodings[encoding]
        if info.network is None:
            return self._descriptors[encoding](self._read_by(encoding, images, hu))
        return self._activations(info.network, info.layer)(images)

    def fields(self, encoding: str) -> ReceptiveFields:
        """The receptive fields of the locations of an encoding's layer."""
        if encoding not in self._fields:
            from ildfv.train.receptive import receptive_fields

            info = self.info.encodings[encoding]
            self._fields[encoding] = (
                self._descriptors[encoding].fields
                if info.network is None
                else receptive_fields(self.network(info.network), info.layer)
            )
        return self._fields[encoding]

    def _read_by(self, encoding: str, images: np.ndarray, hu: np.ndarray | None) -> np.ndarray:
        """The images that an encoding's layer reads: the slices in HU, or the windows."""
        if not self.info.encodings[encoding].hounsfield:
            return images
        rule = f"hu must be int16 {(len(images), 1, *images.shape[2:])}, because encoding {encoding} reads slices in HU"
        if hu is None:
            raise InputError(f"{rule}, got none: pass `scans.hounsfield.mean_hounsfield` of each slice")
        check(
            hu.dtype == np.int16 and hu.shape == (len(images), 1, *images.shape[2:]),
            f"{rule}, got {hu.dtype} {hu.shape}",
        )
        return hu

    def network(self, name: str) -> networks.Network:
        """The network with this name. A stored network ends after the deepest layer that the predictor needs."""
        if name not in self._networks:
            info = self.info.networks[name]
            stored = part_of(self.tensors, f"network.{name}")
            self._networks[name] = self._restored(info, stored).to(self.device).eval()
        return self._networks[name]

    def _restored(self, info: Network, stored: dict[str, np.ndarray]) -> networks.Network:
        from ildfv.train.networks import build, load_weights, restored

        if info.weights_sha256 is None:
            return restored(info.architecture, info.n_outputs, stored)
        network = build(info.architecture, n_outputs=info.n_outputs)
        load_weights(network, self._files[info.weights_sha256])
        return network.normalise(stored["mean"], stored["std"])

    def _passed(self, name: str, images: np.ndarray) -> tuple[dict[str, torch.Tensor], np.ndarray | None]:
        """(maps by layer, outputs) from one forward pass of a network; the outputs are None if no head needs them."""
        import torch

        layers = {one.layer for one in self.info.encodings.values() if one.network == name}
        whole = any(head.kind == CNN and head.network == name for head in self.info.heads)
        network = self.network(name)
        last = max(layers, key=list(network.layers).index) if layers and not whole else None
        found: dict[str, torch.Tensor] = {}
        hooks = [
            network.body.get_submodule(network.layers[layer]).register_forward_hook(_recorder(found, layer))
            for layer in layers
            if layer != last
        ]
        try:
            if last is not None:
                found[last] = self._activations(name, last)(images)
                scores = None
            else:
                with torch.inference_mode():
                    scores = network(torch.from_numpy(images).to(self.device)).double().cpu().numpy()
        finally:
            for hook in hooks:
                hook.remove()
        return found, scores if whole else None

    def _activations(self, name: str, layer: str) -> Activations:
        from ildfv.train.activations import Activations

        if (name, layer) not in self._cached:
            self._cached[name, layer] = Activations(self.network(name), layer)
        return self._cached[name, layer]

    @cached_property
    def _cached(self) -> dict[tuple[str, str], Activations]:
        return {}

    @cached_property
    def _descriptors(self) -> dict[str, Descriptors]:
        """The layers without a network, by encoding."""
        from ildfv.train.descriptors import KINDS

        found: dict[str, Descriptors] = {}
        for key, one in self.info.encodings.items():
            if one.network is None:
                found[key] = KINDS[check_untrained(one, key)](self.device)
                found[key].use(part_of(self.tensors, f"encoding.{key}.descriptors"))
        return found


def check_untrained(encoding: Encoding, name: str) -> str:
    """The layer of an encoding without a network. InputError: the layer is unknown."""
    from ildfv.train.descriptors import KINDS

    if encoding.layer not in KINDS:
        raise InputError(f'layer of encoding {name} must be one of {", ".join(KINDS)}, got "{encoding.layer}"')
    return encoding.layer


def _recorder(found: dict, layer: str):
    """A forward hook that stores a copy of the output in `found`. A later layer may change the output in place."""

    def record(module, inputs, output) -> None:
        found[layer] = (output if output.ndim == 4 else output[:, :, None, None]).float().clone()

    return record
