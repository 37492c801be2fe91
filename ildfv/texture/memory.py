"""A folder of computed maps, so that the splits of an evaluation and the fits of a grid search compute them once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ildfv.store.atomic import key_of, replacing
from ildfv.texture.backbones import JOINT
from ildfv.texture.features import Maps, Range, Scales
from ildfv.texture.images import Picture
from ildfv.version import __version__

FREE = 1 << 30  # bytes of disk that are left free; further maps are computed again each time


def remembered(
    folder: str | Path | None,
    picture: Picture,
    span: Range,
    backbone: str,
    layers: tuple[str, ...],
    scales: Scales,
    compute: Callable[[], Maps],
) -> Maps:
    """The maps of an image from a file in `folder`, or from `compute`, which are then written to this file.

    The name of the file depends on the pixels of the image and on everything else that determines the maps. None: the
    maps are always computed.
    """
    if folder is None:
        return compute()
    files = [Path(part.partition("@")[2]) for part in JOINT.split(backbone)]
    changed = [os.stat(file).st_mtime_ns for file in files if file.is_file()]
    settings = [__version__, backbone, changed, list(layers), scales, span.low, span.high]
    file = Path(folder) / f"{key_of(picture.digest(), picture.eight_bit, settings)}.npz"
    if file.is_file():
        with np.load(file, allow_pickle=False) as stored:
            found: Maps = {layer: [] for layer in layers}
            for name in stored.files:  # "number of the layer.number of the map", in the order of writing
                found[layers[int(name.partition(".")[0])]].append(stored[name])
            return found
    found = compute()
    Path(folder).mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free > FREE:
        named = {f"{i}.{j}": one for i, layer in enumerate(layers) for j, one in enumerate(found[layer])}
        with replacing(file) as temporary, open(temporary, "wb") as stream:
            np.savez(stream, **named)  # type: ignore[arg-type]  # NumPy's stubs treat the names as options
    return found
