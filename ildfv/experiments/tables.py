"""Systems as table rows: our numbers and, below them, those of the paper, each with the data it was obtained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ildfv.evaluation.tables import Cell, Estimate, Table
from ildfv.experiments.context import Context
from ildfv.experiments.paper import NAME
from ildfv.experiments.recipes import System
from ildfv.experiments.results import documents
from ildfv.patterns import PATTERNS

# Column → key in a results document: a measure over all slices, or "pattern/measure".
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
EMPTY = "Slices with no pattern, neither present nor predicted, are excluded from accuracy, precision, recall and F."


def cell(documents: Mapping, key: str) -> Estimate:
    """A measure pooled over folds with its interval, and its mean and SD over folds."""
    pattern, _, name = key.rpartition("/")
    pooled, spread = documents["pooled"], documents["spread"]
    found = pooled.per_pattern[pattern] if pattern else pooled.overall
    value, interval = found.estimate(name)
    over = (spread.per_pattern[pattern] if pattern else spread.overall)[name]
    return Estimate(
        value=value, interval=interval, mean=over.mean, sd=over.sd, n=over.n, patients=found.patients.get(name)
    )


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
    """One row per system, followed by the paper's row for it if there is one, and the paper's quoted rows at the end.

    measures: column → key. quoted: the experiment whose quoted rows are added, this one by default.
    """
    quoted = quoted or experiment
    rows = []
    for system in systems:
        found = documents(context, system)
        rows += beside(context, experiment, system.label, measures, [cell(found, k) for k in measures.values()])
    rows += context.paper.quoted(quoted, list(measures))
    return Table(title, [*SOURCE, *measures], rows, f"{note} {provenance(context, quoted, rows)}".strip())


def provenance(context: Context, experiment: str, rows: Sequence[Sequence[Cell]], at: str = "") -> str:
    """The source of the numbers in the paper's rows, where it is recorded; at: as in `beside`."""
    return context.paper.provenance(experiment, [f"{row[0]}{at}" for row in rows if row[1] == NAME])


def beside(
    context: Context, experiment: str, label: str, columns: Sequence[str] | Mapping, ours: Sequence[Cell], at: str = ""
) -> list[list[Cell]]:
    """Our row, and the paper's if there is one; at: suffix of the label in the paper's row name."""
    theirs = context.paper.row(experiment, label + at, list(columns))
    rows = [[label, "this run", context.slices.data, *ours]]
    return rows if theirs is None else [*rows, [label, NAME, context.paper.data, *theirs]]
