"""Networks of timm or torchvision as backbones: activation maps of their layers for images of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ildfv.errors import InputError, check, require
from ildfv.store.tensors import USE_OTHERS, check_finite

LEAST = 32  # pixels along a side; at this size, the last stage of common networks has a single location
PROBE = 224  # side in pixels of the image that is used to find layers
STAGES = 3  # maximum number of layers that "auto" selects, one per resolution
COARSEST = 8  # minimum side of their maps for an image of PROBE pixels; deeper layers were worse (bench/NOTES.md)
RANDOM = "random"
MEAN, SD = (np.array(v, np.float32) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))  # of ImageNet


class Network:
    """Maps of a network's layers.

    source: "timm", "torchvision" or "efficientnet-lite0". weights: None for the published ones, a file (safetensors, or
    a state dict that torch.load reads without pickled code), or "random".
    """

    least = LEAST

    def scales(self, small: bool) -> tuple[float, ...]:
        """The scales selected by "auto"; small images are enlarged, because they have few locations in deep layers."""
        return (2.0, 1.0, 0.5) if small else (1.4, 1.0, 0.5)

    def __init__(self, source: str, model: str, weights: str | None):
        self.name = f"{source}:{model}" if model else source
        self.body = _body(source, model, weights).eval()
        self._shapes = self._probe()
        self.layers = tuple(self._shapes)

    def auto(self) -> tuple[str, ...]:
        """The last layer at each of the three lowest resolutions that divide the image by less than 32.

        Only one level of nesting is considered: the outermost level at which modules have at least three resolutions
        above 1×1, such as the blocks of a network but not the parts of the blocks. If there is no such level, the last
        layer is selected.
        """
        depths = sorted({layer.count(".") for layer in self.layers})
        for depth in depths:
            last: dict[int, str] = {}
            for layer, (_, side, _) in self._shapes.items():
                if layer.count(".") == depth and side > 1:
                    last[side] = layer
            fine = tuple(last[side] for side in sorted(last, reverse=True) if side >= COARSEST)
            if len(last) >= STAGES and fine:
                return fine[-STAGES:]
        return self.layers[-1:]

    def maps(self, image: np.ndarray, layers: tuple[str, ...]) -> dict[str, np.ndarray]:
        """The maps (d, h', w') of each layer, float32, of an image (h, w) or (h, w, 3) with values in about [0, 1]."""
        import torch

        h, w = image.shape[:2]
        check(min(h, w) >= LEAST, f"image must have at least {LEAST}×{LEAST} pixels for {self.name}, got {h}×{w}")
        rgb = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
        x = torch.from_numpy(((rgb - MEAN) / SD).transpose(2, 0, 1)[None].astype(np.float32))
        found: dict[str, Any] = {}
        hooks = [
            self.body.get_submodule(layer).register_forward_hook(
                lambda module, inputs, output, layer=layer: found.__setitem__(layer, output)
            )
            for layer in layers
        ]
        try:
            with torch.inference_mode():
                self.body(x)
        finally:
            for hook in hooks:
                hook.remove()
        return {layer: found[layer][0].float().numpy() for layer in layers}

    def _probe(self) -> dict[str, tuple[int, int, int]]:
        """Shape (d, h, w) of the maps of each module that runs once and returns maps, in the order of execution."""
        import torch

        ran: dict[str, int] = {}
        shapes: dict[str, tuple[int, int, int]] = {}

        def record(name: str):
            def hook(module, inputs, output) -> None:
                ran[name] = ran.get(name, 0) + 1
                if isinstance(output, torch.Tensor) and output.ndim == 4 and output.shape[2] == output.shape[3]:
                    d, h, w = output.shape[1:]
                    shapes[name] = (d, h, w)

            return hook

        hooks = [module.register_forward_hook(record(name)) for name, module in self.body.named_modules() if name]
        with torch.inference_mode():
            self.body(torch.zeros(1, 3, PROBE, PROBE))
        for hook in hooks:
            hook.remove()
        found = {name: shape for name, shape in shapes.items() if ran[name] == 1}
        rule = f"backbone {self.name} must have layers whose outputs are maps (d, h, w)"
        check(bool(found), f"{rule}, got none: choose a convolutional network")
        return found


def _body(source: str, model: str, weights: str | None):
    if source == "efficientnet-lite0":
        return _efficientnet_lite0()
    from ildfv.train.external import INSTALL, SOURCES, declare_operators

    declare_operators()
    module = require(SOURCES[source], purpose=f'backbone "{source}:{model}"', install=INSTALL)
    published = weights is None
    try:
        if source == "timm":
            body = module.create_model(model, pretrained=published)
        else:
            known = model in module.list_models(module=module)
            check(known, f'backbone "{source}:{model}" must be a network of torchvision, got an unknown name')
            body = module.get_model(model, weights="DEFAULT" if published else None)
    except InputError:
        raise
    except Exception as error:  # failed downloads and unknown names raise many kinds of exceptions
        first = " ".join(str(error).split())[:200]
        raise InputError(
            f'backbone "{source}:{model}" must be a network of {SOURCES[source]} with available weights, got '
            f"{type(error).__name__}: {first}; for weights from a file, use {source}:{model}@FILE"
        ) from error
    if weights not in (None, RANDOM):
        _load(body, Path(str(weights)))
    return body


def _load(body, path: Path) -> None:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check(path.is_file(), f"{path} must be a weights file, got a path that is not a file")
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    except (SafetensorError, RuntimeError, OSError, EOFError) as error:
        raise InputError(
            f"{path} must be a safetensors file or a state dict, got {type(error).__name__}: {error}"
        ) from error
    except Exception as error:
        raise InputError(f"{path} must be a state dict without pickled code, got {type(error).__name__}") from error
    own = body.state_dict()
    fits = {name: v for name, v in state.items() if name in own and own[name].shape == v.shape}
    missing = [name for name in own if name not in fits and "classifier" not in name and "fc" not in name]
    check(bool(fits), f"{path} must contain weights of the network, got no tensor with matching name and shape")
    check(len(missing) < len(own) // 10, f"{path} must contain all weights, got none for {', '.join(missing[:3])}")
    check_finite({name: v.float().numpy() for name, v in fits.items()}, path, USE_OTHERS)
    body.load_state_dict(fits, strict=False)


def _efficientnet_lite0():
    from ildfv.train.pretrained import LITE0, efficientnet_lite0, packaged_weights

    body, _ = efficientnet_lite0(1000)  # classes of ImageNet
    _load(body, packaged_weights(LITE0))
    return body
