"""The code table with which `prepare` reads label maps: the table that the user gives, or codes.toml near the scans."""

from __future__ import annotations

import os
from pathlib import Path

from ildfv.datasets.unpacked import Unpacked
from ildfv.errors import check

CODES_FILE = "codes.toml"  # default code table, in the folder of the scans or in a folder above
FOLDERS_ABOVE = 2  # number of parent folders that are searched for the default code table


def chosen_codes(view: Unpacked, codes: str | None) -> str | None:
    """The code table to use: `codes`, or the file codes.toml near the scans, or None if there is none."""
    return codes if codes is not None else _codes_near(view)


def codes_note(chosen: str | None) -> str:
    """The note that states which code table is used."""
    if chosen is None:
        return (
            "Label maps were not read: --codes was not given, and the folder of the scans and the two folders above it "
            "contain no codes.toml."
        )
    return f"Label codes: {chosen}"


def _codes_near(view: Unpacked) -> str | None:
    above = view.scans.resolve().parents[:FOLDERS_ABOVE]
    for folder in (view.folder, *above):
        if tables := _files_named(CODES_FILE, folder):
            names = ", ".join(table.name for table in tables)
            check(len(tables) == 1, f"{folder} must contain one code table, got {names}: choose one with --codes")
            return str(tables[0])
    return None


def _files_named(name: str, folder: Path) -> list[Path]:
    """The files in `folder` with that name in any letter case, sorted."""
    if not folder.is_dir():
        return []
    paths = folder.iterdir() if os.access(folder, os.R_OK) else [folder / name]  # not every parent folder is readable
    return sorted(path for path in paths if path.name.lower() == name and path.is_file())
