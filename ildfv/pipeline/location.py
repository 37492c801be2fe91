"""Checks of the paths that a user gives, which need no slow imports."""

from __future__ import annotations

import re
from pathlib import Path

from ildfv.errors import InputError

SETTINGS = "workspace.toml"


def check_workspace(root: Path) -> None:
    """Raises InputError unless the folder is a workspace."""
    if not (Path(root) / SETTINGS).exists():
        raise InputError(f"{root} is not a workspace, because {SETTINGS} is missing: run `ildfv prepare SCANS`")


def split_slice(scan: str | Path) -> tuple[Path, int | None]:
    """(path, slice number) of SCAN:N. The number is None if N is missing or SCAN:N is an existing path."""
    text = str(scan)
    match = re.fullmatch(r"(.+):(\d+)", text)
    if match is None or Path(text).exists():
        return Path(text), None
    return Path(match[1]), int(match[2])
