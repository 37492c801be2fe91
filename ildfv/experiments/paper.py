"""The numbers printed in the paper, from `paper.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

NAME = "the paper"  # as the source of a row
T6000, T4000 = THRESHOLDS = (6000, 4000)  # pixels on the original grid: the paper's two values of T


@dataclass(frozen=True)
class PaperTable:
    """One table as printed. rows: label → numbers in the order of the columns. data: what they were measured on."""

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
    """A number or statement of the paper's text, by its name in [text] of paper.toml."""
    return _content()["text"][name]


@cache
def _content() -> dict[str, Any]:
    return tomllib.loads((files("ildfv.experiments") / "paper.toml").read_text(encoding="utf-8"))
