"""Models as one safetensors file, hashed, with a readable JSON copy beside it. Nothing is ever unpickled."""

from __future__ import annotations

import errno
import hashlib
import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from ildfv.documents import check_regular, parse_json
from ildfv.errors import InputError, check
from ildfv.store.atomic import MEND, check_space, replacing, write_json

TENSORS, INFO = "model.safetensors", "model.json"
METADATA = "ildfv"  # one key only: safetensors writes several in no fixed order


def save_model(folder: Path, tensors: dict[str, np.ndarray], info: dict) -> None:
    """The file `model.safetensors` in `folder`, replaced in one step, and `model.json`, its readable copy.

    The info travels inside the tensors' file with a hash over both, so that no kill can part the two.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: np.asarray(tensor, order="C") for name, tensor in sorted(tensors.items())}
    text = json.dumps(info, ensure_ascii=False, allow_nan=False)
    metadata = {METADATA: json.dumps({"sha256": _digest(tensors, text), "info": text})}
    check_space(folder, sum(tensor.nbytes for tensor in tensors.values()) + len(str(metadata)))
    with replacing(folder / TENSORS) as temporary:  # straight to the file: components of fc6 are half a gigabyte
        try:
            save_file(tensors, temporary, metadata=metadata)
        except SafetensorError as error:  # the disk's: full, or a limit
            raise OSError(errno.EIO, str(error), str(temporary)) from error
    write_json(folder / INFO, info)


def has_model(folder: Path) -> bool:
    """Whether `folder` holds a finished model."""
    return (Path(folder) / TENSORS).exists()


def load_info(folder: Path) -> dict:
    """What was saved beside a model's tensors; the tensors are not read."""
    return json.loads(_metadata(folder)["info"])


def load_model(folder: Path) -> tuple[dict[str, np.ndarray], dict]:
    """A model's tensors and its info; a file that is not what was written, or has NaN or infinity, is refused."""
    path, metadata = Path(folder) / TENSORS, _metadata(folder)
    tensors = dict(sorted(load_file(path).items()))
    if _digest(tensors, metadata["info"]) != metadata["sha256"]:
        raise InputError(f"{path} must be intact: its SHA-256 is not the one it was written with: {MEND}")
    for name, tensor in tensors.items():
        finite = tensor.dtype.kind not in "fc" or bool(np.isfinite(tensor).all())
        check(finite, f"{path} must hold finite numbers, got NaN or infinity in {name!r}: {MEND}")
    return tensors, json.loads(metadata["info"])


def verify_model(folder: Path) -> list[str]:
    """One line if the model is missing or damaged; empty when all is well."""
    try:
        load_model(folder)
    except InputError as error:
        return [str(error)]
    return []


def _metadata(folder: Path) -> dict:
    path = Path(folder) / TENSORS
    if not path.exists():
        raise InputError(f"{folder} holds no finished model: {TENSORS} is missing")
    check_regular(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
        content = parse_json(metadata[METADATA], path)
        if not all(isinstance(content[name], str) for name in ("sha256", "info")):
            raise TypeError("sha256 and info must be texts")
        parse_json(content["info"], path)
        return content
    except (SafetensorError, KeyError, ValueError, TypeError, OSError) as error:
        raise InputError(f"{path} must be a model written by ildfv: {error}") from error


def _digest(tensors: dict[str, np.ndarray], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
        digest.update(tensor.reshape(-1).view(np.uint8).data if tensor.size else b"")
    return digest.hexdigest()
