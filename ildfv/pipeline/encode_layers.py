"""`ildfv encode`: one layer, or several joined by "+", each in its own encoding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ildfv.errors import check
from ildfv.pipeline.choices import SLICE
from ildfv.pipeline.descriptors import UNTRAINED
from ildfv.pipeline.encode import EncodeSettings, encode_slices
from ildfv.pipeline.heads import JOINED
from ildfv.pipeline.train import newest_model
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT, Progress


def encode_layers(
    root: Path,
    settings: EncodeSettings,
    *,
    fold: int = 0,
    model: str | None = None,
    network: str | None = None,
    weights: Path | None = None,
    device: str = "auto",
    fresh: bool = False,
    progress: Progress = SILENT,
) -> list[dict]:
    """Encodes the layers of `settings.layer`, such as "conv1+patches". Returns the content of each encoding.json.

    The layers are encoded one after another. Each has its own folder and is resumed separately. model, network and
    weights apply to the layers that need a network. The other parameters are those of `encode_slices`.

    InputError: a layer is missing, occurs twice or is unknown, or an error of `encode_slices`.
    """
    layers = settings.layer.split(JOINED)
    rule = f'layer must be one layer, or several different layers joined by "{JOINED}" such as conv1+patches'
    check(all(layers) and len(set(layers)) == len(layers), f'{rule}, got "{settings.layer}"')
    network_needed = any(layer not in UNTRAINED for layer in layers)
    if network_needed and len(layers) > 1:
        _check_names([layer for layer in layers if layer not in UNTRAINED], root, fold, model, network)
    found = []
    for layer in layers:
        # If no layer needs a network, the options are passed on, so that `encode_slices` refuses them.
        has_network = layer not in UNTRAINED or not network_needed
        given: dict[str, Any] = {"model": model, "network": network, "weights": weights} if has_network else {}
        one = replace(settings, layer=layer)
        found.append(encode_slices(root, one, fold=fold, device=device, fresh=fresh, progress=progress, **given))
    return found


def _check_names(layers: list[str], root: Path, fold: int, model: str | None, network: str | None) -> None:
    """Raises InputError if the network does not have one of the layers. It is called before any layer is encoded."""
    from ildfv.train.activations import check_layer
    from ildfv.train.networks import build, load

    used = build(network) if network is not None else load(newest_model(Workspace.open(root), fold, model))
    for layer in layers:
        check_layer(used, layer)


def next_command(encodings: list[dict]) -> str:
    """The command that fits a regression on these encodings."""
    region, fold = encodings[0]["region"], encodings[0]["fold"]
    where = "" if region == SLICE else f" --region {region}"
    where += f" --fold {fold}" if fold else ""
    head = " --head ridge" if len(encodings) > 1 else ""
    return f"ildfv regress --layer {JOINED.join(one['layer'] for one in encodings)}{where}{head}"
