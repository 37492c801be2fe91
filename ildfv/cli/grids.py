"""Tables that fit the width of the terminal. A wide table is split into several; numbers and words are not broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from re import compile

from rich import box
from rich.cells import cell_len
from rich.table import Table

NUMBERS = compile(r"([-+*−–±0-9.,()% \n]|to|\bp\b)*")  # a number with its interval, deviation, p or star; or –
GAP = 2  # characters between columns, including one for the border of rich
WORD = 24  # characters; a longer word may be broken at any place
LONG = 16  # characters; a longer word may be broken after a separator
PARTS = compile(r"[^-+/_]*[-+/_]*")  # parts of names such as fv-filters+patches-lung-ridge, ending in a separator


@dataclass(frozen=True)
class Column:
    """The text of one column of a table, with the widths that it needs."""

    head: str
    cells: Sequence[str]
    numbers: bool  # whether all cells are numbers, which are right-aligned and never broken

    @property
    def natural(self) -> int:
        """Width without line breaks."""
        return max(cell_len(line) for text in (self.head, *self.cells) for line in [*text.splitlines(), ""])

    @property
    def least(self) -> int:
        """Smallest width at which numbers and words are not broken."""
        if self.numbers:
            return self.natural
        words = (word for text in (self.head, *self.cells) for word in [*text.split(), ""])
        parts = (part for word in words for part in (PARTS.findall(word) if cell_len(word) > LONG else [word]))
        return max(min(cell_len(part), WORD) for part in parts)

    @property
    def weight(self) -> float:
        """Share of the spare width. A text that is twice as long gets √2 times the width and √2 times the lines."""
        return sqrt(sum(map(len, self.cells)) + 1)


def grids(heads: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Iterator[Table]:
    """Yields the table or, if it is wider than `width` cells, several tables that repeat its first column."""
    columns = []
    for number, head in enumerate(heads):
        cells = [row[number] for row in rows]
        columns.append(Column(head, cells, number > 0 and all(map(NUMBERS.fullmatch, cells))))
    first, block = columns[0], columns[:1]
    for column in columns[1:]:
        if len(block) > 1 and sum(one.least + GAP for one in (*block, column)) > width:
            yield _grid(block, width)
            block = [first]
        block.append(column)
    yield _grid(block, width)


def _grid(columns: Sequence[Column], width: int) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False)
    for column, wide in zip(columns, _widths(columns, width), strict=True):
        grid.add_column(column.head, justify="right" if column.numbers else "left", overflow="fold", width=wide)
    for cells in zip(*(column.cells for column in columns), strict=True):
        texts = zip(cells, columns, grid.columns, strict=True)
        grid.add_row(*(text if column.numbers else _broken(text, made.width or 0) for text, column, made in texts))
    return grid


def _broken(text: str, width: int) -> str:
    """The text, in which words that are longer than `width` are broken after their separators."""
    return " ".join(word if cell_len(word) <= width else _lines(word, width) for word in text.split(" "))


def _lines(word: str, width: int) -> str:
    lines = [""]
    for part in PARTS.findall(word):
        if lines[-1] and cell_len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """The natural widths if they fit, otherwise the least widths plus shares of the spare width by `weight`."""
    widths = [column.least for column in columns]
    spare = width - sum(widths) - GAP * len(columns)
    while spare > 0:
        growing = [i for i, column in enumerate(columns) if widths[i] < column.natural]
        if not growing:
            break
        # One character at a time, for the column with the smallest width relative to its weight.
        smallest = min(growing, key=lambda i: widths[i] / columns[i].weight)
        widths[smallest] += 1
        spare -= 1
    return widths
