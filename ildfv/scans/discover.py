"""Deprecated alias of `ildfv.datasets.discovery`, which now contains the search of folders."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    # Imported lazily: `scans` is below `datasets` and must not import it until the alias is used.
    value = getattr(import_module("ildfv.datasets.discovery"), name)
    if not name.startswith("__"):
        warnings.warn(
            f"ildfv.scans.discover has moved: import {name} from ildfv.datasets.discovery",
            DeprecationWarning,
            stacklevel=2,
        )
    return value
