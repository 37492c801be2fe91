"""The output of the commands on a terminal of 80 columns: tables in one piece, and sentences wrapped between words."""

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


def printed(monkeypatch, write, width=80, terminal=False):
    """The lines that `write` prints on a console of this width."""
    console = output.PrintableConsole(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    monkeypatch.setattr(output, "out", console)
    write()
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("terminal", [False, True])
def test_titles_and_captions_are_wrapped_between_words(monkeypatch, width, terminal):
    caption = "Thresholds are from validation patients. " * 5 + SYSTEMS[1]
    lines = printed(
        monkeypatch,
        lambda: output.table("word " * 30, ["system"], [["laa-950"]], caption=caption),
        width,
        terminal,
    )
    assert max(map(len, lines)) <= width
    assert " ".join(" ".join(lines).split()).endswith(caption)


def test_paths_and_names_are_not_broken(monkeypatch):
    path = "/data/" + "scans-" * 20
    lines = printed(monkeypatch, lambda: output.prose(f"Label codes: {path} and then some more words"))
    assert path in lines


def test_an_entry_is_one_line_unless_it_is_read_on_a_terminal(monkeypatch):
    def write():
        output.lines("Quarantined", [("scan-1", "reason " * 30)])

    assert len(printed(monkeypatch, write)) == 3  # title, entry, empty line
    lines = printed(monkeypatch, write, terminal=True)
    assert max(map(len, lines)) <= 80
    assert all(line.startswith("    reason") for line in lines[2:-1])


def test_commands_are_not_wrapped(monkeypatch):
    command = "pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu and more options"
    lines = printed(
        monkeypatch, lambda: output.lines("Remedies", [("torch", command)], wrapped=False), width=60, terminal=True
    )
    assert f"  torch: {command}" in lines


def test_nothing_is_printed_for_no_entries(monkeypatch):
    assert printed(monkeypatch, lambda: output.lines("Quarantined", [])) == []
