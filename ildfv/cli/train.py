"""Command `train`, which trains a CNN."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ildfv.cli import options as o
from ildfv.cli import output
from ildfv.cli.early import check_study
from ildfv.cli.scores import show_scores
from ildfv.errors import InputError
from ildfv.patterns import parse_threshold
from ildfv.train import defaults


def train(
    workspace: o.Workspace = o.HERE,
    fold: o.Fold = 0,
    network: Annotated[
        str, typer.Option(help="Network: cnnf, vgg19, torchvision:NAME or timm:NAME.")
    ] = defaults.NETWORK,
    loss: Annotated[
        str, typer.Option(help="Loss: logistic, l2 or smooth-l1, optionally with the prefix balanced-.")
    ] = defaults.LOSS,
    target: Annotated[
        str | None,
        typer.Option(
            help="Target: presence, counts, step or ramp.",
            show_default="presence for logistic losses, otherwise counts",
        ),
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option(
            help="T of the training targets: pixels, or percent of the lung pixels of the slice, such as 5%. "
            "Results are for the T of the workspace.",
            metavar="T",
            show_default="T of the workspace",
        ),
    ] = None,
    ramp: Annotated[
        str | None,
        typer.Option(help="T1,T2 of the ramp target in pixels; implies --target ramp.", show_default="T/2,3T/2"),
    ] = None,
    unit: Annotated[
        float | None,
        typer.Option(
            help="Pixels per unit of the counts target; smooth L1 is linear beyond one unit (paper: 1).",
            show_default="T",
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Safetensors file with initial weights.", show_default="random weights")
    ] = None,
    layer_decay: Annotated[
        float,
        typer.Option(
            help="With --weights: factor of the learning rate from each layer to the layer below it, such as 0.8.",
            show_default="1: equal rates",
        ),
    ] = 1.0,
    optimizer: Annotated[str, typer.Option(help="Optimizer: adamw or sgd.")] = defaults.OPTIMIZER,
    epochs: Annotated[int, typer.Option(help="Number of passes over the training slices.", min=1)] = defaults.EPOCHS,
    patience: o.Patience = None,
    batch_size: Annotated[int, typer.Option(help="Number of slices per step.", min=1)] = defaults.BATCH_SIZE,
    shards: Annotated[
        int,
        typer.Option(
            help="Number of shards of each batch. Several ranks share the shards; the number of ranks does not "
            "change the result.",
            min=1,
        ),
    ] = defaults.SHARDS,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate.", min=0)] = defaults.LEARNING_RATE,
    augment: Annotated[
        bool, typer.Option("--augment", help="Flip and shift slices during training.")
    ] = defaults.AUGMENT,
    bfloat16: Annotated[
        bool,
        typer.Option(
            "--bfloat16",
            help="Multiply in bfloat16: faster but less precise. Needs a GPU, or a CPU with AVX512-BF16 or AMX.",
        ),
    ] = defaults.BFLOAT16,
    compile: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile", help="Use torch.compile on a GPU.", show_default="if there are enough slices"
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model.", show_default="name of the network")] = None,
    fresh: Annotated[bool, o.fresh("a model with this name")] = False,
    device: o.Device = "auto",
    as_json: o.Json = False,
    verbose: o.Verbose = 0,
) -> None:
    """Train a CNN on all folds but one and evaluate it on the held-out fold. Resumes from the last checkpoint.

    Example: `ildfv train --fold 0 --epochs 6`
    """
    thresholds = None if ramp is None else _thresholds(ramp)
    check_study(workspace, device)
    from ildfv.pipeline.train import train_network

    given: dict[str, Any] = {
        "network": network,
        "loss": loss,
        "target": _target(loss, target, ramp),
        "threshold": None if threshold is None else parse_threshold(threshold),
        "ramp": thresholds,
        "unit": unit,
        "weights": None if weights is None else str(weights),
        "layer_decay": layer_decay,
        "optimizer": optimizer,
        "epochs": epochs,
        "patience": patience,
        "batch_size": batch_size,
        "shards": shards,
        "learning_rate": learning_rate,
        "augment": augment,
        "bfloat16": bfloat16,
    }
    result = train_network(
        workspace,
        fold=fold,
        name=name,
        device=device,
        compile=compile,
        fresh=fresh,
        progress=output.progress(verbose, workspace=workspace),
        **{key: value for key, value in given.items() if value is not None},
    )
    show_scores(result, as_json)


def _target(loss: str, target: str | None, ramp: str | None) -> str:
    """The given target, or the target that the loss and the ramp imply."""
    if target is not None:
        return target
    if "logistic" in loss:
        return "presence"
    return "counts" if ramp is None else "ramp"


def _thresholds(text: str) -> tuple[float, float]:
    """(T1, T2) of the text "T1,T2"."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"ramp must be two numbers T1,T2, such as 3000,9000, got {text!r}") from None
    return low, high
