"""Models on disk: a safetensors file with a checksum, and a readable JSON copy of its metadata. Pickle is not used."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from ildfv.errors import InputError
from ildfv.parsing import check_regular, parse_json
from ildfv.store.atomic import MEND, check_space, replacing, write_json
from ildfv.store.tensors import check_finite

TENSORS, INFO = "model.safetensors", "model.json"
METADATA = "ildfv"  # the only metadata key, because safetensors does not keep the order of several keys


def save_model(folder: Path, tensors: dict[str, np.ndarray], info: dict) -> None:
    """Writes `model.safetensors` atomically, and a readable copy of `info` to `model.json`.

    `info` is also stored in the safetensors file, with a checksum of tensors and info, so that both always match.
    Raises `InputError` if the disk has too little space.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: np.asarray(tensor, order="C") for name, tensor in sorted(tensors.items())}
    text = json.dumps(info, ensure_ascii=False, allow_nan=False)
    metadata = {METADATA: json.dumps({"sha256": _digest(tensors, text), "info": text})}
    check_space(folder, sum(tensor.nbytes for tensor in tensors.values()) + len(str(metadata)))
    with replacing(folder / TENSORS) as temporary:  # written without a copy in memory: the model of fc6 has 500 MB
        try:
            save_file(tensors, temporary, metadata=metadata)
        except SafetensorError as error:  # disk full, or a file size limit
            raise OSError(errno.EIO, str(error), str(temporary)) from error
    write_json(folder / INFO, info)


def has_model(folder: Path) -> bool:
    """Whether `folder` has a finished model."""
    return (Path(folder) / TENSORS).exists()


def load_info(folder: Path) -> dict:
    """The info of a model, read without its tensors. Raises `InputError` if the file is missing or invalid."""
    return json.loads(_metadata(folder)["info"])


def load_model(folder: Path) -> tuple[dict[str, np.ndarray], dict]:
    """The tensors and the info of a model.

    Raises `InputError` if the file is missing or damaged, or a tensor contains NaN or infinity.
    """
    path, metadata = Path(folder) / TENSORS, _metadata(folder)
    tensors = dict(sorted(load_file(path).items()))
    if _digest(tensors, metadata["info"]) != metadata["sha256"]:
        raise InputError(f"{path} must be intact, got a checksum mismatch: {MEND}")
    check_finite(tensors, path, MEND)
    return tensors, json.loads(metadata["info"])


def prefixed(prefix: str, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors with a prefix in their names: prefix "pca" and name "mean" give "pca.mean"."""
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def part_of(tensors: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The tensors whose names have this prefix, by their names without the prefix."""
    start = f"{prefix}."
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def verify_model(folder: Path) -> list[str]:
    """A list with one line if the model is missing or damaged, otherwise an empty list."""
    try:
        load_model(folder)
    except InputError as error:
        return [str(error)]
    return []


def _metadata(folder: Path) -> dict:
    """The checksum and the info in the file. Raises `InputError` if the file is missing or not written by ildfv."""
    path = Path(folder) / TENSORS
    if not path.exists():
        raise InputError(f"{folder} has no finished model: {TENSORS} is missing")
    check_regular(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
        content = parse_json(metadata[METADATA], path)
        if not all(isinstance(content[name], str) for name in ("sha256", "info")):
            raise TypeError("sha256 and info must be strings")
        parse_json(content["info"], path)
        return content
    except (SafetensorError, KeyError, ValueError, TypeError, OSError) as error:
        raise InputError(f"{path} must be a model written by ildfv: {error}") from error


def _digest(tensors: dict[str, np.ndarray], text: str) -> str:
    """The SHA-256 of the info, and of names, types, shapes and values of the tensors."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
        digest.update(tensor.reshape(-1).view(np.uint8).data if tensor.size else b"")
    return digest.hexdigest()
