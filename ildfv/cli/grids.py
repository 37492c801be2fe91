"""Tables cut to the width of a terminal: columns too many go below one another, and what fits a line is not broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from re import compile

from rich import box
from rich.cells import cell_len
from rich.table import Table

NUMBERS = compile(r"([-−–±0-9.,()% \n]|to|\bp\b)*")  # a number, with its interval, deviation or p, or undefined
GAP = 2  # cells between columns, one of them of the box
WORD = 24  # cells: longer words are broken


@dataclass(frozen=True)
class Column:
    """One column's text, and how narrow it may be."""

    head: str
    cells: Sequence[str]
    numbers: bool  # only numbers below the head: to the right, never broken

    @property
    def natural(self) -> int:
        return max(cell_len(line) for text in (self.head, *self.cells) for line in [*text.splitlines(), ""])

    @property
    def least(self) -> int:
        if self.numbers:
            return self.natural
        return max(min(cell_len(word), WORD) for text in (self.head, *self.cells) for word in [*text.split(), ""])

    @property
    def weight(self) -> float:
        """What share of spare width it gets: a text twice as long wants √2 of the width and √2 of the lines."""
        return sqrt(sum(map(len, self.cells)) + 1)


def grids(heads: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Iterator[Table]:
    """The table, or several that repeat its first column where it is wider than `width` cells."""
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
        grid.add_row(*cells)
    return grid


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """Each as wide as its text if all that fits; else spare width is dealt by weight to those that want more."""
    widths = [column.least for column in columns]
    spare = width - sum(widths) - GAP * len(columns)
    while spare > 0:
        hungry = [i for i, column in enumerate(columns) if widths[i] < column.natural]
        if not hungry:
            break
        # One cell at a time, to the column that has least of what it wants.
        poorest = min(hungry, key=lambda i: widths[i] / columns[i].weight)
        widths[poorest] += 1
        spare -= 1
    return widths
