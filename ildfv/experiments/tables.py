"""Systems as rows: our numbers, and under each the paper's, with the data that each was obtained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ildfv.experiments.context import Context
from ildfv.experiments.paper import NAME
from ildfv.experiments.recipes import System
from ildfv.experiments.results import documents
from ildfv.experiments.schema import Cell, Table
from ildfv.patterns import PATTERNS

# Column → where a results document holds it: a measure of all slices, or "pattern/measure".
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
F = {f"F {p}": f"{p}/f" for p in PATTERNS} | {"macro F": "macro_f"}
MEANS = {"F": "f", "macro F": "macro_f", "mean AUC": "mean_auc"}
BRIER = {f"Brier {p}": f"{p}/brier" for p in PATTERNS}
SOURCE = ("system", "source", "data")
EMPTY = (
    "Slices without any pattern, present or called, have no accuracy, precision, recall and F and are left out of them."
)


def cell(documents: Mapping, key: str) -> dict:
    """A measure pooled over folds with its interval, and its mean and SD over folds."""
    pattern, _, name = key.rpartition("/")
    pooled, over = (
        (d["per_pattern"][pattern] if pattern else d["overall"]) for d in (documents["pooled"], documents["spread"])
    )
    return {"value": pooled[name], "interval": pooled[f"{name}_interval"], **over[name]}


def measured(
    context: Context,
    experiment: str,
    title: str,
    systems: Sequence[System],
    measures: Mapping[str, str],
    *,
    quoted: str | None = None,
    note: str = "",
) -> Table:
    """One row a system, the paper's row below it, and last what else the paper tells, of `quoted` if not of this one.

    measures: column → key.
    """
    quoted = quoted or experiment
    rows = []
    for system in systems:
        found = documents(context, system)
        rows += beside(context, experiment, system.label, measures, [cell(found, k) for k in measures.values()])
    rows += context.paper.quoted(quoted, list(measures))
    return Table(title, [*SOURCE, *measures], rows, f"{note} {told(context, quoted, rows)}".strip())


def told(context: Context, experiment: str, rows: Sequence[Sequence[Cell]], at: str = "") -> str:
    """Where the numbers of the paper's rows are from, as far as it is said; at: as in `beside`."""
    return context.paper.told(experiment, [f"{row[0]}{at}" for row in rows if row[1] == NAME])


def beside(
    context: Context, experiment: str, label: str, columns: Sequence[str] | Mapping, ours: Sequence[Cell], at: str = ""
) -> list[list[Cell]]:
    """Our row, and the paper's where it has one; at: what the paper's row is named by beside the label."""
    theirs = context.paper.row(experiment, label + at, list(columns))
    rows = [[label, "this run", context.slices.data, *ours]]
    return rows if theirs is None else [*rows, [label, NAME, context.paper.data, *theirs]]
