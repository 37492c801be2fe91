"""JSON documents that carry the SHA-256 of what they say: a number changed since is found by whoever reads it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from ildfv.errors import check
from ildfv.store.atomic import MEND, read_json, write_json

SEAL = "sha256"


def write_sealed(path: Path, content: Mapping) -> None:
    """The file `path` holding `content` and its seal, last; as `write_json` otherwise."""
    write_json(path, {**content, SEAL: _seal(content)})


def read_sealed(path: Path) -> dict:
    """What was written to `path`, without the seal; InputError where the file says anything else."""
    document = read_json(path)
    seal = document.pop(SEAL, None) if isinstance(document, dict) else None
    check(seal is not None and seal == _seal(document), f"{path} must say what ildfv wrote there: {MEND}")
    return document


def _seal(content: Mapping) -> str:
    # Keys in their own order, as both writing and reading keep it: a seal needs no sorting of unlike keys.
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode(errors="backslashreplace")).hexdigest()
