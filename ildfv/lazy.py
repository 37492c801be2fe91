"""Lazy imports: the modules behind the names of a package are imported when a name is first used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ildfv.errors import naming_missing_extra


def imported(package: str, module_of: Mapping[str, str], name: str) -> Any:
    """The object that `name` denotes in the package. Packages call this function in their `__getattr__`.

    Raises
    ------
    AttributeError
        The package has no such name.
    MissingPackageError
        The module of the name needs an extra that is not installed.
    """
    if name not in module_of:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    with naming_missing_extra(f"{package}.{name}"):
        return getattr(import_module(module_of[name]), name)
