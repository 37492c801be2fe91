"""Systems as rows: our numbers, and under each the paper's, with the data that each was obtained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ildfv.evaluation.tables import Cell, Estimate, Table
from ildfv.experiments.context import Lab
from ildfv.experiments.paper import NAME
from ildfv.experiments.systems import System
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


def cell(documents: Mapping, key: str) -> Estimate:
    """A measure pooled over folds with its interval, and its mean and SD over folds."""
    pattern, _, name = key.rpartition("/")
    pooled, spread = documents["pooled"], documents["spread"]
    value, interval = (pooled.per_pattern[pattern] if pattern else pooled.overall).estimate(name)
    over = (spread.per_pattern[pattern] if pattern else spread.overall)[name]
    return Estimate(value=value, interval=interval, mean=over.mean, sd=over.sd, n=over.n)


def measured(
    lab: Lab,
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
        documents = lab.documents(system)
        rows += beside(lab, experiment, system.label, measures, [cell(documents, k) for k in measures.values()])
    rows += lab.paper.quoted(quoted, list(measures))
    return Table(title, [*SOURCE, *measures], rows, f"{note} {told(lab, quoted, rows)}".strip())


def told(lab: Lab, experiment: str, rows: Sequence[Sequence[Cell]], at: str = "") -> str:
    """Where the numbers of the paper's rows are from, as far as it is said; at: as in `beside`."""
    return lab.paper.told(experiment, [f"{row[0]}{at}" for row in rows if row[1] == NAME])


def beside(
    lab: Lab, experiment: str, label: str, columns: Sequence[str] | Mapping, ours: Sequence[Cell], at: str = ""
) -> list[list[Cell]]:
    """Our row, and the paper's where it has one; at: what the paper's row is named by beside the label."""
    theirs = lab.paper.row(experiment, label + at, list(columns))
    rows = [[label, "this run", lab.slices.data, *ours]]
    return rows if theirs is None else [*rows, [label, NAME, lab.paper.data, *theirs]]
