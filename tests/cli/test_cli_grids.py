"""Tables fit the width of the terminal, and no number or word is broken across lines."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ildfv.cli.grids import GAP, WORD, Column, grids

HEADS = ("system", "AUC\nground\nglass", "AUC\nreticular", "mean\nAUC", "remark")
ROWS = (
    ("smooth L1 on step, balanced", "0.431\n.20–.61", "–", "0.709\n.68–.75", "the first of its kind, and long"),
    ("CNN", "0.736", "0.704\n.64–.78", "0.711", "–"),
)


def printed(heads, rows, width):
    console = Console(file=io.StringIO(), width=width, highlight=False)
    tables = list(grids(heads, rows, width))
    for table in tables:
        console.print(table)
    return tables, console.file.getvalue()


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
def test_numbers_and_words_are_not_broken_and_lines_fit_the_terminal(width):
    tables, text = printed(HEADS, ROWS, width)
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    for cell in (*HEADS, *(cell for row in ROWS for cell in row)):
        for word in cell.split():
            assert word in text.split(), word
    assert [table.columns[0].header for table in tables] == ["system"] * len(tables)
    assert [column.header for table in tables for column in table.columns[1:]] == list(HEADS[1:])


def test_a_wide_terminal_breaks_no_line():
    (table,), text = printed(HEADS, ROWS, 120)
    assert "smooth L1 on step, balanced" in text
    assert "the first of its kind, and long" in text
    assert [column.justify for column in table.columns] == ["left", "right", "right", "right", "left"]


def test_a_column_of_longer_text_gets_more_of_the_width():
    text = "a sentence of several words " * 8
    (table,), _ = printed(("item", "short", "long"), [("x", "some words and more of them", text)], 60)
    assert table.columns[2].width > table.columns[1].width > table.columns[0].width


@given(
    st.lists(st.lists(st.text("ab \n", max_size=40), min_size=3, max_size=3), min_size=1, max_size=4),
    st.integers(WORD + 2 * GAP, 150),
)
def test_any_table_whose_words_fit_is_no_wider_than_the_terminal(rows, width):
    rows = [[" ".join(word[:8] for word in cell.split(" ")) for cell in row] for row in rows]
    _, text = printed(("one", "two", "three"), rows, width)
    assert all(len(line.rstrip()) <= width for line in text.splitlines())


def test_an_empty_column_has_no_width():
    assert Column("", ["", ""], numbers=True).natural == 0


def test_long_names_are_broken_after_their_separators():
    name = "fv-filters+patches+efficientnet-lite0-block5-lung-logistic"
    _, text = printed(("system", "AUC", "baseline"), [(name, "0.912\n.881–.940", "x" * 20)], 55)
    column = [line.split()[0] for line in text.splitlines()[2:] if line.strip()]
    assert "".join(column) == name
    assert all(part[-1] in "-+" for part in column[:-1])


def test_signed_numbers_are_right_aligned():
    (table,), _ = printed(("item", "change"), [("a", "+0.199\n+0.111 to +0.305"), ("b", "−0.100")], 80)
    assert table.columns[1].justify == "right"
