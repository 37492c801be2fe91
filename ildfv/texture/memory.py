"""A folder of computed maps, so that the splits of an evaluation and the fits of a grid search compute them once.

joblib.Memory is not used, because it unpickles its files, and hashes a network as an argument instead of its name.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

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

    The name of the file depends on the pixels of the image and on everything else that determines the maps. If `folder`
    is None, the maps are always computed.
    """
    if folder is None:
        return compute()
    files = [Path(part.partition("@")[2]) for part in JOINT.split(backbone)]
    changed = [os.stat(file).st_mtime_ns for file in files if file.is_file()]
    settings = [__version__, backbone, changed, list(layers), scales, span.low, span.high]
    file = Path(folder) / f"{key_of(picture.digest(), picture.eight_bit, settings)}.safetensors"
    if file.is_file():
        stored = load_file(file)
        found: Maps = {layer: [] for layer in layers}
        for i, j in sorted(tuple(map(int, name.split("."))) for name in stored):  # layer, map of this layer
            found[layers[i]].append(stored[f"{i}.{j}"])
        return found
    found = compute()
    Path(folder).mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free > FREE:
        named = {
            f"{i}.{j}": np.ascontiguousarray(one)
            for i, layer in enumerate(layers)
            for j, one in enumerate(found[layer])
        }
        with replacing(file) as temporary:
            save_file(named, temporary)
    return found
