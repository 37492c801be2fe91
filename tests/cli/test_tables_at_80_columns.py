"""The widest tables of the commands fit a terminal of 80 columns in one piece."""

import io

import pytest
from rich.console import Console

from ildfv.cli import output
from ildfv.cli.grids import grids
from ildfv.cli.pooled_tables import difference_rows, stacked
from ildfv.cli.prediction_tables import HEADINGS
from ildfv.evaluation.baselines import BEATS
from ildfv.patterns import PATTERNS

SYSTEMS = ("fv-filters+patches-lung-ridge", "fv-filters+patches+efficientnet-lite0-block5-lung-logistic", "laa-950")
AUC = output.above_interval(0.912, (0.881, 0.940))
AGAINST = [
    {
        "system": system,
        "measure": measure,
        "baseline": "baseline-mean-density",
        "difference": -0.199,
        "interval": (-0.305, -0.111),
        "outcome": BEATS,
    }
    for system in SYSTEMS
    for measure in (*PATTERNS, "mean_auc")
]


@pytest.mark.parametrize(
    ("headings", "rows"),
    [
        (HEADINGS, [(p, "yes", "114", "0.740", "0.960", "1,453", "114, 113, 112") for p in PATTERNS]),
        (("system", *map(stacked, PATTERNS), "mean"), [(name, *[AUC] * 5) for name in SYSTEMS]),
        (("system", *map(stacked, PATTERNS), "mean"), difference_rows(AGAINST, SYSTEMS, (*PATTERNS, "mean_auc"))),
    ],
)
def test_a_table_is_one_grid_without_broken_numbers(headings, rows):
    console = Console(file=io.StringIO(), width=80, highlight=False)
    tables = list(grids(headings, rows, 80))
    assert len(tables) == 1
    console.print(tables[0])
    lines = console.file.getvalue().splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    for number in {word for row in rows for cell in row for word in cell.split() if word[0] in "*+-.0123456789"}:
        assert any(number in line.split() for line in lines), number


def test_an_interval_is_below_its_value():
    assert output.above_interval(0.912, (0.881, 1.0)) == "0.912\n.881–1.000"
    assert output.above_interval(0.5, None) == "0.500"
    assert output.above_interval(None, None) == "–"
