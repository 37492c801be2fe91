"""Vectors of many images, written to disk in parts, so that memory is limited and an interrupted run can be resumed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ildfv.counted import counted
from ildfv.errors import check
from ildfv.progress import SILENT, Progress
from ildfv.store.atomic import key_of, read_json, replacing, sha256, write_json
from ildfv.store.lock import writing
from ildfv.store.models import has_model, load_info, load_model, save_model
from ildfv.texture.backbones import resolved
from ildfv.texture.collection import survey
from ildfv.texture.encoder import TextureEncoder, settings_of
from ildfv.texture.images import read_image

INDEX = "features.json"
PART = 256  # images per part: an interruption loses at most one part
VERSION = 1


def encode(
    paths: list[Path],
    out: Path,
    encoder: TextureEncoder,
    *,
    named: Callable[[Path], str] = str,
    progress: Progress = SILENT,
) -> dict:
    """Fit the encoder on all images and write their vectors to `out`; finished parts are not computed again.

    The folder contains the fitted encoder (model.safetensors), parts features-00000.npy … of at most PART rows, and
    features.json, which lists the images in order with their sizes and SHA-256. Returns the content of features.json.
    named: path → name of the image. InputError: `out` has features of other images or settings, or is in use by another
    process; or a setting is invalid, or an image cannot be used.
    """
    with writing(out):
        with progress.task("Computing checksums", len(paths)) as advance:
            images = []
            for path in paths:
                images.append({"path": named(path), "bytes": os.path.getsize(path), "sha256": sha256(path)})
                advance()
        settings = settings_of(encoder) | {"backbone": resolved(encoder.backbone)}
        key = key_of(VERSION, settings, images)
        _check_same(out, key)
        if not has_model(out):
            survey(paths)  # reports all images that cannot be used
            progress.note(f"fitting the encoder on {counted(len(paths), 'image')}")
            encoder.fit(paths)
            save_model(out, encoder.to_tensors(), {"kind": "texture encoder", "key": key, "encoder": encoder.info()})
        else:
            tensors, info = load_model(out)
            encoder = TextureEncoder.from_tensors(tensors, info["encoder"])
        parts: list[dict[str, Any]] = []
        starts = range(0, len(paths), PART)
        ready = [out / f"features-{i:05}.npy" for i in range(len(starts))]
        done = sum(len(paths[s : s + PART]) for s, file in zip(starts, ready, strict=True) if file.exists())
        with progress.task("Encoding images", len(paths), done) as advance:
            for start, file in zip(starts, ready, strict=True):
                some = paths[start : start + PART]
                if not file.exists():
                    vectors = []
                    for path in some:
                        vectors.append(encoder.vector(read_image(path)))
                        advance()
                    with replacing(file) as temporary:
                        np.save(temporary, np.stack(vectors))
                parts.append({"file": file.name, "rows": len(some), "sha256": sha256(file)})
        length = int(np.load(ready[0], mmap_mode="r").shape[1])
        index: dict[str, Any] = {"kind": "texture features", "key": key, "length": length}
        index |= {"settings": settings, "images": images, "parts": parts}
        write_json(out / INDEX, index)
    return index


def load_features(folder: Path) -> tuple[np.ndarray, list[str]]:
    """The vectors (n, m) and the names of the images of a folder that `encode` wrote.

    InputError: the folder is not complete, or a part is corrupt.
    """
    folder = Path(folder)
    check(
        (folder / INDEX).is_file(),
        f"{folder} must contain {INDEX}, which `ildfv texture encode` writes last, got no such file: "
        "check the path, or run this command again if it was interrupted",
    )
    index = read_json(folder / INDEX)
    parts = []
    for part in index["parts"]:
        file = folder / part["file"]
        check(
            sha256(file) == part["sha256"],
            f"{file} must be intact, got a checksum mismatch: remove it and run `ildfv texture encode` again",
        )
        parts.append(np.load(file, allow_pickle=False))
    return np.concatenate(parts), [one["path"] for one in index["images"]]


def _check_same(out: Path, key: str) -> None:
    if has_model(out):
        found = load_info(out).get("key")
        check(
            found == key,
            f"{out} must be new or have features of the same images and settings, got others: choose another --out",
        )
