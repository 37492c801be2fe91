"""Output of the commands: one JSON document with --json, otherwise tables; and progress on stderr."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console

from ildfv import distributed
from ildfv.cli.grids import grids
from ildfv.progress import SILENT, Bars, EventLog, Lines, Progress

EVENTS = "events.jsonl"
out = Console(highlight=False, markup=False)
notes = Console(stderr=True, highlight=False, markup=False)
_events: EventLog | None = None  # of the running command


def progress(verbose: int = 0, *, workspace: Path | None = None) -> Progress:
    """Bars on a terminal, log lines elsewhere, and JSON lines in the workspace; silent on ranks other than 0."""
    level = logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    logging.getLogger("ildfv").setLevel(level)
    if not distributed.is_main():
        return SILENT
    shown: Progress = Bars(notes) if notes.is_terminal else Lines()
    global _events
    _events = None
    if workspace is not None:
        from ildfv.pipeline.workspace import SETTINGS

        _events = EventLog(workspace / EVENTS, shown, beside=workspace / SETTINGS)
    return _events or shown


def failed(text: str) -> None:
    """Writes the final error to the event log, if the command has opened one."""
    if _events is not None:
        _events.error(text)


def emit(result, *, as_json: bool) -> bool:
    """Prints `result`, a dict or a document, as JSON if `as_json`. True: the command has nothing more to print.

    Ranks other than 0 print nothing.
    """
    if not distributed.is_main():
        return True
    if as_json:
        sys.stdout.write(json.dumps(result, indent=1, ensure_ascii=False, default=_jsonable) + "\n")
    return as_json


def _jsonable(value):
    return value.to_dict() if hasattr(value, "to_dict") else str(value)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence], *, caption: str | None = None) -> None:
    """Prints a table: text left-aligned, numbers right-aligned, None as –."""
    out.print(title, style="bold")
    for grid in grids(columns, [[cell(value) for value in row] for row in rows], out.width):
        out.print(grid)
        out.print()
    if caption:
        out.print(caption, style="dim italic")
        out.print()


def cell(value) -> str:
    """A value as text: three decimals, thousands separators, – for None."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    """`0.912 (0.881–0.940)`; without the interval where it is undefined."""
    if value is None:
        return "–"
    return f"{value:.3f}" + (f" ({interval[0]:.3f}–{interval[1]:.3f})" if interval else "")
