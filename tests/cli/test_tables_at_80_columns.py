"""The widest tables of the commands fit a terminal of 80 columns in one piece."""

import io

import pytest
from rich.console import Console

from ildfv.cli import few, output
from ildfv.cli.grids import grids
from ildfv.cli.prediction_tables import HEADINGS
from ildfv.patterns import PATTERNS

SYSTEMS = ("fv-filters+patches-lung-ridge", "fv-filters+patches+efficientnet-lite0-block5-lung-logistic", "laa-950")
AUC = output.above_interval(0.912, (0.881, 0.940))
DIFFERENCE = few._difference(0.199, (0.111, 0.305))


@pytest.mark.parametrize(
    ("headings", "rows"),
    [
        (HEADINGS, [(p, "yes", "114", "0.740", "0.960", "1,453", "114, 113, 112") for p in PATTERNS]),
        (("system", *map(few._stacked, PATTERNS), "mean"), [(name, *[AUC] * 5) for name in SYSTEMS]),
        (few.AGAINST, [(n, "ground glass", "high-attenuation-area", DIFFERENCE, "cannot be told") for n in SYSTEMS]),
    ],
)
def test_a_table_is_one_grid_without_broken_numbers(headings, rows):
    console = Console(file=io.StringIO(), width=80, highlight=False)
    tables = list(grids(headings, rows, 80))
    assert len(tables) == 1
    console.print(tables[0])
    lines = console.file.getvalue().splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    for number in {word for row in rows for cell in row for word in cell.split() if word[0] in "+.0123456789"}:
        assert any(number in line.split() for line in lines), number


def test_an_interval_is_below_its_value():
    assert output.above_interval(0.912, (0.881, 1.0)) == "0.912\n.881–1.000"
    assert output.above_interval(0.5, None) == "0.500"
    assert output.above_interval(None, None) == "–"
