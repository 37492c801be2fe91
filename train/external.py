"""Networks of other packages by name: torchvision's and timm's, with fresh weights and layers that can be encoded."""

from __future__ import annotations

import importlib
import re
from collections import Counter

import torch
from torch import library, nn

from ildfv.errors import InputError, check, require
from ildfv.train.architectures import SIZE, Body

SOURCES = {"timm": "timm", "torchvision": "torchvision.models"}  # package → module with its networks
INSTALL = "pip install -c constraints.txt 'ildfv[networks]'"
# Operators that torchvision describes to torch as it is imported, whether or not they could be loaded.
OPERATORS = dict.fromkeys(("nms", "qnms"), "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
_DECLARED = library.Library("torchvision", "FRAGMENT")  # what it declares is gone when it is


def external(source: str, model: str, n_outputs: int) -> Body:
    """(body, layers) of `model`; a layer is a module that runs once for a slice and gives (b, d) or (b, d, h, w)."""
    module = _package(source, model)
    if source == "torchvision":
        known = module.list_models(module=module)  # without those that segment, or find objects
        check(model in known, f'torchvision must know the network, such as {", ".join(known[:3])}, got "{model}"')
    try:
        if source == "timm":
            body = module.create_model(model, pretrained=False, num_classes=n_outputs)
        else:
            body = module.get_model(model, weights=None, num_classes=n_outputs)
    except (RuntimeError, ValueError, KeyError) as error:  # both packages answer an unknown name in this way
        raise InputError(f'{source} must know the network "{model}": {error}') from error
    _check_answers(f"{source}:{model}", body, n_outputs)
    return body, {name: name for name in layer_names(body)}


def first_answers(answers) -> torch.Tensor:
    """The answers alone: GoogLeNet and Inception give auxiliary ones too while they learn."""
    return answers if isinstance(answers, torch.Tensor) else answers[0]


@torch.no_grad()
def layer_names(body: nn.Module) -> list[str]:
    """Names of the modules whose output can be encoded, in the order in which they end.

    One that runs twice, as a ReLU that a block shares, would name two outputs, and is left out.
    """
    ran: Counter[str] = Counter()
    encodable: dict[str, bool] = {}

    def record(name: str):
        def hook(module, inputs, output) -> None:
            ran[name] += 1
            shape = tuple(output.shape) if isinstance(output, torch.Tensor) else ()
            # Maps of a square slice are square; (b, h, w, d) and tokens by heads are not.
            encodable[name] = len(shape) == 2 or (len(shape) == 4 and shape[2] == shape[3])

        return hook

    hooks = [module.register_forward_hook(record(name)) for name, module in body.named_modules() if name]
    body.eval()(torch.zeros(1, 3, SIZE, SIZE))
    body.train()
    for hook in hooks:
        hook.remove()
    return [name for name in encodable if encodable[name] and ran[name] == 1]


@torch.no_grad()
def _check_answers(name: str, body: nn.Module, n_outputs: int) -> None:
    """Nothing if the body answers slices while it learns; else InputError: it may want another size of image."""
    rule = f'network "{name}" must give (2, {n_outputs}) for slices (2, 3, {SIZE}, {SIZE})'
    before = [(buffer, buffer.clone()) for buffer in body.buffers()]
    try:
        answers = first_answers(body.train()(torch.zeros(2, 3, SIZE, SIZE)))
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        raise InputError(f"{rule}, got {type(error).__name__}: {error}") from error
    for buffer, value in before:  # running statistics
        buffer.copy_(value)
    check(tuple(answers.shape) == (2, n_outputs), f"{rule}, got {tuple(answers.shape)}")


def _package(source: str, model: str):
    """The module with the package's networks."""
    declare_operators()
    return require(SOURCES[source], purpose=f'network "{source}:{model}"', install=INSTALL)


def declare_operators() -> None:
    """Nothing, but torchvision, if it is there, can be imported now; timm imports it as well.

    PyPI's torchvision is compiled for a torch with CUDA. Beside a torch without, its operators (nms and others of
    object detection) cannot be loaded, and it stumbles over describing them. No network here calls one, so it is enough
    that torch has heard their names; who calls them is told by torchvision that they are not there.
    """
    for _ in range(len(OPERATORS) + 1):
        try:
            importlib.import_module("torchvision")
        except ImportError:
            return  # `require` says so where it is needed
        except RuntimeError as error:
            missing = re.search(r"operator torchvision::(\w+) does not exist", str(error))
            if missing is None or missing[1] not in OPERATORS:
                raise InputError(
                    f"torchvision must be made for this torch, {torch.__version__}, got {error}: {INSTALL}"
                ) from error
            _DECLARED.define(missing[1] + OPERATORS[missing[1]])
        else:
            return
