"""Maps of a network's own outputs, in the format of contribution maps: Grad-CAM of one layer, and occlusion.

Both are computed by Captum (Kokhlikyan et al. 2020) and signed: a negative value is evidence against the pattern.
Unlike contribution maps they do not add up to the score.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from ildfv.errors import check, require
from ildfv.train.networks import SIZE, Network
from ildfv.train.receptive import receptive_fields

WINDOW, STEP = 32, 16  # pixels of an occluded square and between squares: 13×13 forward passes per slice
AT_ONCE = 16  # slices, or occluded copies of a slice, per forward pass


def grad_cam(
    network: Network,
    images: np.ndarray,
    layer: str | None = None,
    *,
    at_once: int = AT_ONCE,
    dtype: type = np.float64,
) -> np.ndarray:
    """Layer Grad-CAM of every output: the activations weighted by the mean gradient of their channel, without ReLU.

    The value of a location is spread evenly over its receptive field, as contributions are.
    Source: Selvaraju et al., Grad-CAM, ICCV 2017.

    Parameters
    ----------
    network : Network
        In evaluation mode.
    images : ndarray of shape (m, 3, 224, 224), uint8
        Prepared slices.
    layer : str, optional
        By default the deepest layer with more than one location.
    at_once : int
        Slices per forward and backward pass.
    dtype : type
        Of the result: float64, or float32, which takes 0.8 MB for a slice.

    Returns
    -------
    ndarray of shape (m, C, 224, 224)
    """
    layer = layer or deepest_map(network)
    fields = receptive_fields(network, layer) if layer in network.layers else None  # grad_cam_values refuses others
    found: np.ndarray = np.empty((len(images), network.n_outputs, SIZE, SIZE), dtype)
    for start in range(0, len(images), at_once):
        rows = slice(start, start + at_once)
        values = grad_cam_values(network, images[rows], layer)  # (b, C, n)
        assert fields is not None
        found[rows] = fields.spread(values.reshape(-1, values.shape[2])).reshape(found[rows].shape)
    return found


def grad_cam_values(network: Network, images: np.ndarray, layer: str) -> np.ndarray:
    """Grad-CAM at the locations of a layer, float64 (m, C, n), n = h·w."""
    attr = _captum("Grad-CAM maps")
    check(layer in network.layers, f'layer of {network.name} must be one of {", ".join(network.layers)}, got "{layer}"')
    method = attr.LayerGradCam(network, network.body.get_submodule(network.layers[layer]))
    batch = _on_device(network, images)
    found = [method.attribute(batch, target=c, relu_attributions=False) for c in range(network.n_outputs)]
    values = torch.stack([one.detach().double() for one in found], dim=1).cpu().numpy()
    return values.reshape(len(images), network.n_outputs, -1)


def occlusion(network: Network, images: np.ndarray, *, window: int = WINDOW, step: int = STEP) -> np.ndarray:
    """The drop of every output when a square is replaced by the mean grey level of the training slices.

    The value of a pixel is the mean drop over all squares that cover it. Source: Zeiler and Fergus, ECCV 2014.

    Parameters
    ----------
    network : Network
        In evaluation mode.
    images : ndarray of shape (m, 3, 224, 224), uint8
        Prepared slices.
    window, step : int
        Side of the occluded square and distance between squares, pixels.

    Returns
    -------
    ndarray of shape (m, C, 224, 224), float64
    """
    attr = _captum("occlusion maps")
    check(1 <= step <= window <= SIZE, f"step and window must be 1 ≤ step ≤ window ≤ {SIZE}, got {step} and {window}")
    baseline = network.mean.view(1, 3, 1, 1)
    maps = []
    for image in images:
        outputs = _Kept(network)  # all outputs use the same occluded copies
        per_output = [
            attr.Occlusion(partial(outputs, c)).attribute(
                _on_device(network, image[None]),
                sliding_window_shapes=(3, window, window),
                strides=(3, step, step),
                baselines=baseline,
                perturbations_per_eval=AT_ONCE,
            )
            for c in range(network.n_outputs)
        ]
        maps.append(torch.cat(per_output)[:, 0].double().cpu().numpy())  # attributions are equal in the three windows
    return np.stack(maps)


def deepest_map(network: Network) -> str:
    """The last layer with more than one location."""
    from ildfv.train.activations import Activations

    found = [layer for layer in network.layers if Activations(network, layer).n > 1]
    check(bool(found), f"{network.name} must have a layer with more than one location")
    return found[-1]


class _Kept:
    """Outputs of a network on a sequence of inputs, which must be the same for every output c."""

    def __init__(self, network: Network):
        self._network = network
        self._calls: dict[int, int] = {}  # by output
        self._outputs: list[torch.Tensor] = []

    @torch.inference_mode()
    def __call__(self, c: int, x: torch.Tensor) -> torch.Tensor:
        call = self._calls.get(c, 0)
        self._calls[c] = call + 1
        if call == len(self._outputs):
            self._outputs.append(self._network(x))
        return self._outputs[call][:, c]


def _on_device(network: Network, images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(images)).to(network.mean.device).float()


def _captum(purpose: str):
    return require("captum.attr", purpose=purpose)
