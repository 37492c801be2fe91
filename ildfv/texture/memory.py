"""A folder of computed maps, so that the splits of an evaluation and the fits of a grid search compute them once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ildfv.store.atomic import key_of, replacing
from ildfv.texture.features import Range
from ildfv.texture.images import Picture
from ildfv.version import __version__

Maps = dict[str, list[np.ndarray]]  # layer → maps (d, h, w), one per scale
FREE = 1 << 30  # bytes of disk that are left free; further maps are computed again each time


def remembered(
    folder: str | Path | None,
    picture: Picture,
    span: Range,
    backbone: str,
    layers: Sequence[str],
    scales: Sequence[float],
    compute: Callable[[], Maps],
) -> Maps:
    """The maps of an image from a file in `folder`, or from `compute`, which are then written to this file.

    The name of the file depends on the pixels of the image and on everything else that determines the maps. None: the
    maps are always computed.
    """
    if folder is None:
        return compute()
    weights = Path(backbone.partition("@")[2])
    changed = os.stat(weights).st_mtime_ns if weights.is_file() else 0
    settings = [__version__, backbone, changed, list(layers), list(scales), span.low, span.high]
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
            np.savez(stream, **named)  # type: ignore[arg-type]  # NumPy's stubs take the names for options
    return found
