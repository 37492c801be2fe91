"""The location, kind and version of a predictor, which commands check before their slow imports."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ildfv.errors import check, check_version
from ildfv.store.atomic import read_json

TENSORS, INFO, CARD = "predictor.safetensors", "predictor.json", "MODEL_CARD.md"
KIND: Final = "ildfv predictor"
VERSION: Final = 2


def predictor_content(folder: Path) -> Any:
    """The JSON values of predictor.json. Only kind and version are checked.

    InputError: a file is missing, or the kind or version is wrong.
    """
    for name in (INFO, TENSORS):
        check((folder / name).is_file(), f"{folder} must be a predictor, but has no {name}: run `ildfv export`")
    content = read_json(folder / INFO)
    kind, version = (content.get(name) if isinstance(content, dict) else None for name in ("kind", "version"))
    check(kind == KIND, f"{folder / INFO} must be of kind {KIND!r}, got {kind!r}")
    check_version(version, VERSION, str(folder / INFO), ": run `ildfv export` again", faq="predictor-version")
    return content
