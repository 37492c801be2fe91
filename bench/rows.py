"""Rows of a benchmark, written after each implementation, so that a failure or an interruption loses no other row."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Results:
    """`found` with its list of rows, written to `path` with every row. path: None writes nothing."""

    def __init__(self, path: str | None, found: dict):
        self.path, self.found = path and Path(path), found
        found.setdefault("rows", [])
        self.write()

    def add(self, **row) -> None:
        self.add_row(row)

    def add_row(self, row: dict) -> None:
        """Adds the row itself: later changes are written with the next `write`."""
        self.found["rows"].append(row)
        self.write()

    @contextmanager
    def contestant(self, **labels) -> Iterator[None]:
        """Runs the block; an exception becomes a row with the labels and the error, and its traceback is printed."""
        try:
            yield
        except Exception as error:  # device time is scarce, so the other implementations must still run
            traceback.print_exc()
            self.add(**labels, error=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")

    def write(self) -> None:
        if self.path is None:
            return
        fresh = self.path.with_name(f"{self.path.name}.part")
        fresh.write_text(json.dumps(self.found, indent=1), encoding="utf-8")
        os.replace(fresh, self.path)  # an interrupted run leaves a complete file
