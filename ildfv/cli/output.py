"""What commands print: one JSON document for machines, or tables for people; and progress that fits the terminal."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from ildfv import distributed
from ildfv.cli.grids import grids
from ildfv.progress import SILENT, Bars, EventLog, Lines, Progress, WithoutNotes
from ildfv.visible import visible, visible_json

EVENTS = "events.jsonl"


class Terminal(Console):
    """A console for text from anywhere: control characters are shown as escapes, and no line of text is broken.

    A path that is broken across lines cannot be copied. The terminal wraps long lines itself.
    """

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich's, but for texts: see the class."""
        texts = all(isinstance(one, str | Text) for one in objects)
        super().print(*map(_shown, objects), **({"soft_wrap": True} if texts else {}) | options)


def _shown(printed: Any) -> Any:
    if isinstance(printed, str):
        return visible(printed, keep="\n")
    if isinstance(printed, Text):
        return Text.assemble(*((visible(part.plain, keep="\n"), part.style) for part in _parts(printed)))
    return printed  # a table, whose cells `cell` has made


def _parts(text: Text) -> list[Text]:
    """The stretches of one style of a text."""
    edges = sorted({0, len(text), *(edge for span in text.spans for edge in (span.start, span.end))})
    stretches = [text[start:stop] for start, stop in pairwise(edges)]
    return [Text(one.plain, style=one.spans[0].style if one.spans else "") for one in stretches]


out = Terminal(highlight=False, markup=False)
errors = Terminal(stderr=True, highlight=False, markup=False)
_events: EventLog | None = None  # of the command that runs


def progress(verbose: int = 0, *, workspace: Path | None = None, notes: bool = True) -> Progress:
    """Bars on a terminal, log lines elsewhere, nothing on other ranks than 0; also JSON lines in the workspace.

    notes: whether notes, which may hold paths, are shown; the event log, which only its owner can read, has them.
    """
    level = logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    logging.getLogger("ildfv").setLevel(level)
    if not distributed.is_main():
        return SILENT
    shown: Progress = Bars(errors) if errors.is_terminal else Lines()
    if not notes:
        shown = WithoutNotes(shown)
    global _events
    _events = None
    if workspace is not None:
        from ildfv.pipeline.workspace import SETTINGS

        _events = EventLog(workspace / EVENTS, shown, beside=workspace / SETTINGS)
    return _events or shown


def failed(text: str) -> None:
    """Leaves in the event log, if the command has begun one, the line that it ends with."""
    if _events is not None:
        _events.error(text)


def emit(result: dict, *, as_json: bool) -> bool:
    """True after printing `result` as JSON, if that was asked for; False if the command should print it for people.

    On ranks other than 0 nothing is printed at all.
    """
    if not distributed.is_main():
        return True
    if as_json:
        sys.stdout.write(visible_json(json.dumps(result, indent=1, ensure_ascii=False, default=str)) + "\n")
    return as_json


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence], *, caption: str | None = None) -> None:
    """A table on the terminal: words to the left, numbers to the right; None is shown as –."""
    out.print(title, style="bold")
    for grid in grids(columns, [[cell(value) for value in row] for row in rows], out.width):
        out.print(grid)
        out.print()
    if caption:
        out.print(caption, style="dim italic")
        out.print()


def lines(title: str, rows: Iterable[Sequence[str]]) -> None:
    """A title and a line a row, `first: second`: for paths and reasons, which a table would break."""
    out.print(title, style="bold")
    for row in rows:
        out.print("  " + ": ".join(visible(text) for text in row))
    out.print()


def cell(value) -> str:
    """A value as a table shows it: three decimals, thousands apart, – for undefined."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else visible(str(value), keep="\n")


def with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    """`0.912 (0.881–0.940)`; the interval is left out where it is undefined."""
    if value is None:
        return "–"
    return f"{value:.3f}" + (f" ({interval[0]:.3f}–{interval[1]:.3f})" if interval else "")
