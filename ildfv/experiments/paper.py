"""The numbers that are printed in the paper, read from `paper.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

NAME = "the paper"  # the source of a table row with the paper's numbers
T6000, T4000 = THRESHOLDS = (6000, 4000)  # the two values of T in the paper, pixels of the scan's own grid


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper. rows: by label, the numbers in the order of the columns. data: the data they are from."""

    number: int
    title: str
    data: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[float, ...]]

    @property
    def heading(self) -> str:
        return f"Table {self.number}. {self.title}"


@cache
def table(number: int) -> PaperTable:
    """The table of that number, 1 to 9."""
    found = _content()[f"table{number}"]
    rows = {label: tuple(numbers) for label, *numbers in found["rows"]}
    return PaperTable(number, found["title"], found["data"], tuple(found["columns"]), MappingProxyType(rows))


def text(name: str) -> Any:
    """A number or statement from the text of the paper, by its name in [text] of paper.toml."""
    return _content()["text"][name]


@cache
def _content() -> dict[str, Any]:
    return tomllib.loads((files("ildfv.experiments") / "paper.toml").read_text(encoding="utf-8"))
