"""Grad-CAM maps and occlusion maps of the outputs of a network, in the format of contribution maps.

Both kinds are computed by Captum (Kokhlikyan et al. 2020). A negative value is evidence against the pattern. Unlike
contribution maps, these maps do not add up to the score.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from ildfv.errors import check, require
from ildfv.inference.cnn_methods import GRAD_CAM, OCCLUSION, STEP, WINDOW, CnnMethod
from ildfv.progress import SILENT, Progress
from ildfv.train.networks import SIZE, Network
from ildfv.train.receptive import receptive_fields

AT_ONCE = 16  # slices, or occluded copies of a slice, per forward pass


def grad_cam(
    network: Network,
    images: np.ndarray,
    layer: str | None = None,
    *,
    at_once: int = AT_ONCE,
    dtype: type = np.float64,
) -> np.ndarray:
    """Grad-CAM maps of every output: sums of activations weighted by the mean gradient of their channel, without ReLU.

    The value of a location is spread evenly over its receptive field, as in contribution maps. Source: Selvaraju et
    al., Grad-CAM, ICCV 2017.

    Parameters
    ----------
    network : Network
        The network, in evaluation mode.
    images : ndarray of shape (m, 3, 224, 224), uint8
        Prepared slices.
    layer : str, optional
        By default the deepest layer with more than one location.
    at_once : int
        Number of slices per forward and backward pass.
    dtype : type
        Type of the result: float64, or float32, which takes 0.8 MB per slice for C = 4.

    Returns
    -------
    ndarray of shape (m, C, 224, 224), where C is the number of outputs

    Raises
    ------
    InputError
        The network has no such layer, or no layer with more than one location.
    MissingPackageError
        Captum is not installed.
    """
    layer = layer or deepest_map(network)
    fields = receptive_fields(network, layer) if layer in network.layers else None  # else grad_cam_values raises
    found: np.ndarray = np.empty((len(images), network.n_outputs, SIZE, SIZE), dtype)
    for start in range(0, len(images), at_once):
        rows = slice(start, start + at_once)
        values = grad_cam_values(network, images[rows], layer)  # (b, C, n)
        assert fields is not None
        found[rows] = fields.spread(values.reshape(-1, values.shape[2])).reshape(found[rows].shape)
    return found


def grad_cam_values(network: Network, images: np.ndarray, layer: str) -> np.ndarray:
    """Grad-CAM values at the n = h·w locations of a layer, float64 (m, C, n). The errors are those of `grad_cam`."""
    attr = _captum("Grad-CAM maps")
    check(layer in network.layers, f'layer of {network.name} must be one of {", ".join(network.layers)}, got "{layer}"')
    method = attr.LayerGradCam(network, network.body.get_submodule(network.layers[layer]))
    batch = _on_device(network, images)
    found = [method.attribute(batch, target=c, relu_attributions=False) for c in range(network.n_outputs)]
    values = torch.stack([one.detach().double() for one in found], dim=1).cpu().numpy()
    return values.reshape(len(images), network.n_outputs, -1)


def occlusion(network: Network, images: np.ndarray, *, window: int = WINDOW, step: int = STEP) -> np.ndarray:
    """Occlusion maps: the decrease of every output when a square of the slice is occluded.

    An occluded square has the mean grey level of the training slices. The value of a pixel is the mean decrease over
    all squares that cover it. Source: Zeiler and Fergus, ECCV 2014.

    Parameters
    ----------
    network : Network
        The network, in evaluation mode.
    images : ndarray of shape (m, 3, 224, 224), uint8
        Prepared slices.
    window, step : int
        Side of an occluded square, and stride between squares, pixels.

    Returns
    -------
    ndarray of shape (m, C, 224, 224), float64, where C is the number of outputs

    Raises
    ------
    InputError
        The step is not in [1, window], or the window is larger than the slice.
    MissingPackageError
        Captum is not installed.
    """
    attr = _captum("occlusion maps")
    rule = f"step and window must satisfy 1 ≤ step ≤ window ≤ {SIZE}"
    check(1 <= step <= window <= SIZE, f"{rule}, got {step} and {window}")
    baseline = network.mean.view(1, 3, 1, 1)
    maps = []
    for image in images:
        outputs = _CachedOutputs(network)  # the occluded copies are the same for all outputs
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
        maps.append(torch.cat(per_output)[:, 0].double().cpu().numpy())  # the three channels have equal attributions
    return np.stack(maps)


def maps_of(
    method: CnnMethod,
    network: Network,
    images: np.ndarray,
    *,
    at_once: int = AT_ONCE,
    dtype: type = np.float64,
    progress: Progress = SILENT,
) -> np.ndarray:
    """The maps of a method with its default settings, (m, C, 224, 224).

    method: Grad-CAM or occlusion. network, images, dtype: as for `grad_cam`. at_once: number of slices after which
    `progress` is updated; for Grad-CAM also the number of slices per forward and backward pass. InputError: `grad_cam`
    finds no layer with more than one location. MissingPackageError: Captum is not installed.
    """
    ways: dict[CnnMethod, Callable] = {GRAD_CAM: partial(grad_cam, at_once=at_once), OCCLUSION: occlusion}
    compute = ways[method]
    found: np.ndarray = np.empty((len(images), network.n_outputs, SIZE, SIZE), dtype)
    with progress.task(f"{method.title} maps", total=len(images)) as advance:
        for start in range(0, len(images), at_once):
            some = images[start : start + at_once]
            found[start : start + at_once] = compute(network, some)
            advance(len(some))
    return found


def deepest_map(network: Network) -> str:
    """The name of the last layer with more than one location. InputError: there is no such layer."""
    from ildfv.train.activations import Activations

    found = [layer for layer in network.layers if Activations(network, layer).n > 1]
    check(bool(found), f"{network.name} must have a layer with more than one location")
    return found[-1]


class _CachedOutputs:
    """A function (c, x) → output c of a network for the input x. The network runs once per input, for all outputs.

    The n-th call for an output uses the result for the n-th input. Every output must therefore be computed for the same
    sequence of inputs.
    """

    def __init__(self, network: Network):
        self._network = network
        self._calls: dict[int, int] = {}  # number of calls by output
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
