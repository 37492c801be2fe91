"""Output of the commands: one JSON document with --json, otherwise tables. Progress is shown on stderr."""

from __future__ import annotations

import json
import logging
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from ildfv import distributed
from ildfv.cli.grids import grids
from ildfv.cli.quoted import CompleteNotes, Quoted
from ildfv.errors import printable
from ildfv.progress import SILENT, Bars, EventLog, Lines, Progress, WithoutNotes

EVENTS = "events.jsonl"


class PrintableConsole(Console):
    """A console that escapes control characters, except line breaks, and does not wrap lines of text.

    Commands and paths with inserted line breaks could not be copied. `prose` prints sentences, which it wraps. Quoted
    commands in the text are completed (`cli.quoted`).
    """

    def print(self, *objects: Any, **options: Any) -> None:
        texts = all(isinstance(one, str | Text) for one in objects)
        printed = (_printable_lines(quoted.complete(one)) if isinstance(one, str) else one for one in objects)
        super().print(*printed, **({"soft_wrap": True} if texts else {}) | options)


quoted = Quoted()
out = PrintableConsole(highlight=False, markup=False)
errors = PrintableConsole(stderr=True, highlight=False, markup=False)
_events: EventLog | None = None  # event log of the running command


def progress(verbose: int = 0, *, workspace: Path | None = None, notes: bool = True) -> Progress:
    """Bars on a terminal, log lines elsewhere, and JSON lines in the workspace; silent on ranks other than 0.

    notes: whether notes, which may contain paths, are shown. The event log always contains them, because only its owner
    can read it.
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
        from ildfv.pipeline.location import SETTINGS

        _events = EventLog(workspace / EVENTS, shown, required=workspace / SETTINGS)
    return CompleteNotes(_events or shown, quoted)


def failed(text: str) -> None:
    """Writes the final error to the event log, if the command has opened a log."""
    if _events is not None:
        _events.error(text)


def emit(result, *, as_json: bool) -> bool:
    """Prints `result`, a dict or a document, as JSON if `as_json`. Ranks other than 0 print nothing.

    Returns True if the command must not print anything else.
    """
    if not distributed.is_main():
        return True
    if as_json:
        sys.stdout.write(json_text(result, indent=1) + "\n")
    return as_json


def json_text(content, indent: int | None = None) -> str:
    """The content as JSON text. Characters that are not printable are written as JSON escapes."""
    text = json.dumps(content, indent=indent, ensure_ascii=False, default=_jsonable)
    return "\n".join("".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line) for line in text.split("\n"))


def _jsonable(value):
    return value.to_dict() if hasattr(value, "to_dict") else str(value)


def _printable_lines(text: str) -> str:
    return "\n".join(printable(line) for line in text.split("\n"))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence], *, caption: str | None = None) -> None:
    """Prints a table with text left-aligned, numbers right-aligned and None as –."""
    prose(title, style="bold")
    for grid in grids(columns, [[cell(value) for value in row] for row in rows], out.width):
        out.print(grid)
        out.print()
    if caption:
        prose(caption, style="dim italic")
        out.print()


def prose(text: str, *, style: str = "", indent: int = 0) -> None:
    """Prints sentences, wrapped between words. Long words, such as paths and names of systems, are not broken.

    style: of the text, for rich. indent: additional spaces before the second and all further lines.
    """
    wrap = textwrap.TextWrapper(out.width, break_long_words=False, break_on_hyphens=False)
    for paragraph in quoted.complete(text).split("\n"):
        wrap.subsequent_indent = " " * (indent + len(paragraph) - len(paragraph.lstrip(" ")))
        out.print("\n".join(wrap.wrap(paragraph)), style=style)


def record(text: str, *, style: str = "") -> None:
    """Prints a line about one file: wrapped on a terminal, but one line elsewhere, for programs such as grep."""
    if out.is_terminal:
        prose(text, style=style, indent=2)
    else:
        out.print(text, style=style)


def lines(title: str, rows: Sequence[Sequence[str]], *, wrapped: bool = True) -> None:
    """Prints a title and an entry `first: second` per row; nothing if there are no rows.

    A table would break long paths. wrapped: whether entries are wrapped on a terminal; commands must not be.
    """
    if not rows:
        return
    out.print(title, style="bold")
    for row in rows:
        (record if wrapped else out.print)("  " + ": ".join(printable(text) for text in row))
    out.print()


def cell(value) -> str:
    """A value as text: three decimals, thousands separators, – for None."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{round(value, 3) + 0.0:.3f}"  # + 0.0 turns -0.0 into 0.0
    return f"{value:,}" if isinstance(value, int) else _printable_lines(str(value))


def above_interval(value: float | None, interval: Sequence[float] | None) -> str:
    """The value and, on a second line, its interval, such as `0.912` above `.881–.940`, for tables of many columns."""
    if value is None:
        return "–"
    return f"{value:.3f}" + ("" if interval is None else "\n" + "–".join(f"{x:.3f}".lstrip("0") for x in interval))


def with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    """The value with its interval, such as `0.912 (0.881–0.940)`; without the interval if it is undefined."""
    if value is None:
        return "–"
    return f"{value:.3f}" + (f" ({interval[0]:.3f}–{interval[1]:.3f})" if interval else "")
