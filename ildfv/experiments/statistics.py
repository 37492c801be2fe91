"""Tables 1 and 2: slices with and without each pattern, and slices by number of patterns."""

from __future__ import annotations

import numpy as np

from ildfv.evaluation.statistics import statistics
from ildfv.evaluation.tables import Cell, Table
from ildfv.experiments import paper
from ildfv.experiments.context import Context
from ildfv.experiments.experiment import Experiment, Findings
from ildfv.experiments.paper import T6000, THRESHOLDS
from ildfv.experiments.tables import OURS, printed
from ildfv.patterns import PATTERNS, UNLABELLED, presence

HEALTHY = (
    "In the row “healthy”, a slice is positive if at least T of its pixels are labelled healthy, even if it also has "
    "patterns. With this definition, Tables 1 and 2 of the paper agree."
)
NO_PATTERN = "In this table, healthy slices are those without a pattern of at least T pixels."
UNKNOWN = (
    "“–” means that the numbers of healthy pixels were not stored when these scans were prepared. To store them, "
    "prepare the scans in a new workspace."
)


def positive_negative(context: Context, threshold: int) -> dict[tuple[str, str], Cell]:
    """The cells of Table 1, numbers of labelled slices by (row, column).

    The cells of the row healthy are None if the number of healthy pixels is unknown on any slice.
    """
    slices = context.slices
    labelled = slices.labelled
    healthy = slices.healthy[labelled]
    by_row: dict[str, np.ndarray | None] = {"healthy": None if (healthy == UNLABELLED).any() else healthy >= threshold}
    present = presence(slices.counts[labelled], threshold)
    by_row |= {pattern: present[:, k] == 1 for k, pattern in enumerate(PATTERNS)}
    found: dict[tuple[str, str], Cell] = {}
    for label, positive in by_row.items():
        found[label, "Positive"] = None if positive is None else int(positive.sum())
        found[label, "Negative"] = None if positive is None else int((~positive).sum())
    return found


def run(context: Context) -> Findings:
    slices = context.slices
    found = {
        threshold: statistics(
            presence(slices.counts, threshold), slices.patients.tolist(), labels=PATTERNS, threshold=threshold
        )
        for threshold in THRESHOLDS
    }
    first, second = positive_negative(context, T6000), paper.table(2)
    unknown = f" {UNKNOWN}" if first["healthy", "Positive"] is None else ""
    counted = {("slices", c): n for c, n in zip(second.columns, found[T6000]["by_number"], strict=True)}
    tables = [
        printed(context, paper.table(1), first, head="pattern", note=HEALTHY + unknown),
        printed(context, second, counted, head="number of patterns", note=NO_PATTERN),
    ]
    for threshold, result in found.items():
        shown = {**result["per_pattern"], "no pattern": result["healthy"]}
        shown["all"] = {"slices": result["slices"], "patients": result["patients"]}
        rows: list[list[Cell]] = [
            [label, OURS, context.slices.data, n["slices"], n["patients"]] for label, n in shown.items()
        ]
        note = "The row “no pattern” counts slices without a pattern, and patients without a pattern on any slice."
        title = f"Slices and patients per pattern, T = {threshold}"
        tables.append(Table(title, ["pattern", "source", "data", "slices", "patients"], rows, note))
    excluded = found[T6000]["unlabelled_slices"]
    have, are = ("slice has", "is") if excluded == 1 else ("slices have", "are")
    notes = [
        f"{excluded} {have} no labels and {are} excluded. The paper has "
        f"{paper.text('patients')} patients and {paper.text('slices'):,} slices."
    ]
    return Findings(tables, notes=notes, folds=())


EXPERIMENT = Experiment("statistics", "Slices and patients per pattern", "Tables 1 and 2", run)
