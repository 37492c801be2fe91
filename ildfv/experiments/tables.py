"""Tables of experiments: the paper's tables with the numbers of this run, and additional tables with intervals.

In a table of the paper, each row of this run is followed by the paper's row with the same label. The columns "source"
and "data" distinguish the two. A page shows both numbers in one cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ildfv.evaluation.tables import Cell, Estimate, Table
from ildfv.experiments.context import Context
from ildfv.experiments.paper import NAME, PaperTable
from ildfv.experiments.recipes import System
from ildfv.experiments.results import documents
from ildfv.patterns import PATTERNS

# By column, the key of a measure in a results document: an overall measure, or "pattern/measure".
LABEL_SETS = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "F": "f",
    "micro F": "micro_f",
    "macro F": "macro_f",
    "mean AUC": "mean_auc",
}
AUC = {f"AUC {p}": f"{p}/auc" for p in PATTERNS} | {"mean AUC": "mean_auc"}
F = {f"F {p}": f"{p}/f" for p in PATTERNS} | {"overall F": "f"}
MEANS = {"overall F": "f", "macro F": "macro_f", "mean AUC": "mean_auc"}
BRIER = {f"Brier {p}": f"{p}/brier" for p in PATTERNS}
F_ROW = {p: f"{p}/f" for p in PATTERNS} | {"Overall": "f"}  # the columns of Tables 3, 4 and 8, the rows of Table 6
AUC_ROW = {p: f"{p}/auc" for p in PATTERNS}  # the rows of Tables 5 and 7
SOURCE = ("system", "source", "data")
OURS = "this run"
NEITHER = "with neither a present nor a predicted pattern"
EMPTY = f"Slices {NEITHER} are excluded from accuracy, precision, recall and F."
OVERALL = (
    "The F of a pattern is for the decision threshold with the largest F on validation slices. Overall F is the "
    f"harmonic mean of precision and recall, which are means over slices (Eq. 8–10). {EMPTY}"
)


def cell(documents: Mapping, key: str) -> Estimate:
    """The table cell of a measure: pooled over folds with its interval, and its mean and SD over folds."""
    pattern, _, name = key.rpartition("/")
    pooled, spread = documents["pooled"], documents["spread"]
    found = pooled.per_pattern[pattern] if pattern else pooled.overall
    value, interval = found.estimate(name)
    over = (spread.per_pattern[pattern] if pattern else spread.overall)[name]
    return Estimate(
        value=value, interval=interval, mean=over.mean, sd=over.sd, n=over.n, patients=found.patients.get(name)
    )


def value(context: Context, system: System, key: str) -> float | None:
    """The value of a measure of a system, pooled over folds."""
    return cell(documents(context, system), key).value


def measured(
    context: Context, title: str, systems: Sequence[System], measures: Mapping[str, str], *, note: str = ""
) -> Table:
    """A table that is not in the paper, with one row per system and with intervals. measures: keys by column."""
    rows: list[list[Cell]] = []
    for system in systems:
        found = documents(context, system)
        rows.append([system.label, OURS, context.slices.data, *(cell(found, key) for key in measures.values())])
    return Table(title, [*SOURCE, *measures], rows, note)


def printed(
    context: Context, theirs: PaperTable, ours: Mapping[tuple[str, str], Cell], *, head: str, note: str = ""
) -> Table:
    """A table of the paper in the layout of the paper, with the numbers of this run.

    ours: numbers of this run by (row, column); missing cells are undefined. head: name of the first column.
    """
    unknown = {key for key in ours if key[0] not in theirs.rows or key[1] not in theirs.columns}
    assert not unknown, f"{theirs.heading} has no cells {unknown}"
    rows: list[list[Cell]] = []
    for label, numbers in theirs.rows.items():
        rows.append([label, OURS, context.slices.data, *(ours.get((label, column)) for column in theirs.columns)])
        rows.append([label, NAME, theirs.data, *numbers])
    return Table(theirs.heading, [head, "source", "data", *theirs.columns], rows, note)


def of_systems(
    context: Context, theirs: PaperTable, systems: Mapping[str, System], measures: Mapping[str, str], note: str = ""
) -> Table:
    """A table of the paper whose rows or columns are systems, with the numbers of this run.

    If systems are the rows, `systems` is by row and `measures` by column; if systems are the columns, the reverse.
    """
    in_rows = systems.keys() <= theirs.rows.keys()
    ours = {
        (label, name) if in_rows else (name, label): value(context, system, key)
        for label, system in systems.items()
        for name, key in measures.items()
    }
    return printed(context, theirs, ours, head="system" if in_rows else "pattern", note=note)
