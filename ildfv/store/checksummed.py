"""JSON documents with the SHA-256 of their content, so that later changes are detected when a document is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from ildfv.errors import check
from ildfv.store.atomic import MEND, read_json, write_json

CHECKSUM = "sha256"  # the last field of a document


def write_checksummed(path: Path, content: Mapping) -> None:
    """Writes `content` and its checksum, as the last field, to `path` like `write_json`."""
    write_json(path, {**content, CHECKSUM: checksum_of(content)})


def read_checksummed(path: Path) -> dict:
    """The content of the document in `path` without the checksum.

    Raises `InputError` if the checksum is missing or wrong, and the errors of `read_json`.
    """
    document = read_json(path)
    stored = document.pop(CHECKSUM, None) if isinstance(document, dict) else None
    check(stored is not None, f"{path} must be a document with a checksum, got none: {MEND}")
    check(stored == checksum_of(document), f"{path} must be intact, got a checksum mismatch: {MEND}")
    return document


def checksum_of(content: Mapping) -> str:
    """The SHA-256 of JSON values. It does not depend on the spaces and line breaks of a file."""
    # Keys are not sorted, because writing and reading keep their order, and keys of mixed types cannot be sorted.
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode(errors="backslashreplace")).hexdigest()
