"""Checks of the paths that a user gives, which need no slow imports."""

from __future__ import annotations

import re
from pathlib import Path
from shlex import quote

from ildfv.errors import InputError

SETTINGS = "workspace.toml"


def check_workspace(root: Path) -> None:
    """Raises InputError unless the folder is a workspace."""
    if not (Path(root) / SETTINGS).exists():
        how = f"run `ildfv prepare SCANS{option_of(root)}`"
        raise InputError(f"{root} is not a workspace, because {SETTINGS} is missing: {how}")


def option_of(root: Path) -> str:
    """The option that selects a workspace, after a space; "" for the current folder, which is the default."""
    return "" if Path(root) == Path(".") else f" -w {quote(str(root))}"


def split_slice(scan: str | Path) -> tuple[Path, int | None]:
    """(path, slice number) of SCAN:N. The number is None if N is missing or SCAN:N is an existing path."""
    text = str(scan)
    match = re.fullmatch(r"(.+):(\d+)", text)
    if match is None or Path(text).exists():
        return Path(text), None
    return Path(match[1]), int(match[2])
