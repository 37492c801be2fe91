"""Networks of torchvision and timm by name, with random weights and the list of their layers that can be encoded."""

from __future__ import annotations

import importlib
import re
from collections import Counter

import torch
from torch import library, nn

from ildfv.errors import InputError, check, require
from ildfv.train.architectures import SIZE, Body

SOURCES = {"timm": "timm", "torchvision": "torchvision.models"}  # package → module of its networks
INSTALL = "pip install -c constraints.txt 'ildfv[networks]'"
# Packages from one index match each other; PyPI's torchvision is built for torch with CUDA.
BUILDS = (
    "install torch and torchvision of one build together, for a CPU: "
    "pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu"
)
# Operators that torchvision registers meta functions for on import, even if it could not load them.
OPERATORS = dict.fromkeys(("nms", "qnms"), "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
_DECLARED = library.Library("torchvision", "FRAGMENT")  # declarations exist as long as this object
_declared: list[str] = []  # names of the operators that had to be declared


def external(source: str, model: str, n_outputs: int) -> Body:
    """(body, layers) of `model`; each layer runs once per forward pass and outputs (b, d) or (b, d, h, w)."""
    module = _package(source, model)
    if source == "torchvision":
        known = module.list_models(module=module)  # classification only, without segmentation and detection
        check(
            model in known, f'network must be a network of torchvision, such as {", ".join(known[:3])}, got "{model}"'
        )
    try:
        if source == "timm":
            body = module.create_model(model, pretrained=False, num_classes=n_outputs)
        else:
            body = module.get_model(model, weights=None, num_classes=n_outputs)
    except (RuntimeError, ValueError, KeyError) as error:  # raised by both packages for unknown names
        raise InputError(f'network must be a network of {source}, got "{model}": {error}') from error
    _check_outputs(f"{source}:{model}", body, n_outputs)
    return body, {name: name for name in layer_names(body)}


def main_output(outputs) -> torch.Tensor:
    """The main output of a network: in training mode, GoogLeNet and Inception also return auxiliary outputs."""
    return outputs if isinstance(outputs, torch.Tensor) else outputs[0]


@torch.no_grad()
def layer_names(body: nn.Module) -> list[str]:
    """Names of the modules whose output can be encoded, in the order of execution.

    Modules that run more than once, such as a shared ReLU, are omitted: their name would be ambiguous.
    """
    ran: Counter[str] = Counter()
    encodable: dict[str, bool] = {}

    def record(name: str):
        def hook(module, inputs, output) -> None:
            ran[name] += 1
            shape = tuple(output.shape) if isinstance(output, torch.Tensor) else ()
            # Activation maps of a square slice are square; (b, h, w, d) and attention tokens are not.
            encodable[name] = len(shape) == 2 or (len(shape) == 4 and shape[2] == shape[3])

        return hook

    hooks = [module.register_forward_hook(record(name)) for name, module in body.named_modules() if name]
    body.eval()(torch.zeros(1, 3, SIZE, SIZE))
    body.train()
    for hook in hooks:
        hook.remove()
    return [name for name in encodable if encodable[name] and ran[name] == 1]


@torch.no_grad()
def _check_outputs(name: str, body: nn.Module, n_outputs: int) -> None:
    """Raises InputError unless the body accepts slices in training mode: some networks require another image size."""
    rule = f'network "{name}" must output (2, {n_outputs}) for slices (2, 3, {SIZE}, {SIZE})'
    before = [(buffer, buffer.clone()) for buffer in body.buffers()]
    try:
        outputs = main_output(body.train()(torch.zeros(2, 3, SIZE, SIZE)))
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        raise InputError(f"{rule}, got {type(error).__name__}: {error}") from error
    for buffer, value in before:  # running statistics
        buffer.copy_(value)
    check(tuple(outputs.shape) == (2, n_outputs), f"{rule}, got {tuple(outputs.shape)}")


def _package(source: str, model: str):
    """The module of the package that contains its networks."""
    declare_operators()
    return require(SOURCES[source], purpose=f'network "{source}:{model}"', install=INSTALL)


def torchvision_problem() -> tuple[bool, str] | None:
    """None, or (whether the networks work, description) if torchvision is built for another version of torch."""
    try:
        declare_operators()
    except InputError as error:
        return False, str(error)
    if not _declared:
        return None
    names = ", ".join(f"torchvision::{name}" for name in _declared)
    return (
        True,
        f"built for another version of torch than {torch.__version__} (no operator {names}), but its networks work",
    )


def declare_operators() -> None:
    """Makes torchvision importable, if it is installed. timm imports torchvision as well.

    PyPI's torchvision is compiled for torch with CUDA. With a CPU build of torch, its operators for object detection
    (such as nms) cannot be loaded, and its import fails when their meta functions are registered. No network here uses
    these operators, so it is enough to declare them; a call of one raises torchvision's own error.
    """
    for _ in range(len(OPERATORS) + 1):
        try:
            importlib.import_module("torchvision")
        except ImportError:
            return  # not installed: `require` raises where it is needed
        except RuntimeError as error:
            missing = re.search(r"operator torchvision::(\w+) does not exist", str(error))
            if missing is None or missing[1] not in OPERATORS:
                raise InputError(
                    f"torchvision must be built for torch {torch.__version__}, got {error}: {BUILDS}", faq="torchvision"
                ) from error
            _DECLARED.define(missing[1] + OPERATORS[missing[1]])
            _declared.append(missing[1])
        else:
            return
