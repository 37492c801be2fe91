"""Tables 1 and 2: slices and patients per pattern, and patterns per slice, at both thresholds."""

from __future__ import annotations

from ildfv.evaluation.statistics import statistics
from ildfv.evaluation.tables import Table
from ildfv.experiments.context import Context
from ildfv.experiments.experiment import Experiment, Findings
from ildfv.experiments.tables import beside, provenance
from ildfv.patterns import PATTERNS, presence

NONE = "Row “none of them”: slices without a pattern, and patients with no pattern on any of their slices."
THRESHOLDS = (6000, 4000)  # pixels on the original grid: the paper's two values of T


def run(context: Context) -> Findings:
    tables = []
    for threshold in THRESHOLDS:
        found = statistics(
            presence(context.slices.counts, threshold),
            context.slices.patients.tolist(),
            labels=PATTERNS,
            threshold=threshold,
        )
        at = f", T = {threshold}"
        shown = {**found["per_pattern"], "none of them": found["healthy"]}
        shown["all"] = {"slices": found["slices"], "patients": found["patients"]}
        columns = ["slices", "patients"]
        rows = [
            row
            for label, n in shown.items()
            for row in beside(context, "statistics", label, columns, [n[c] for c in columns], at)
        ]
        title = f"Table 1. Slices and patients per pattern, T = {threshold}"
        note = f"{NONE} {provenance(context, 'statistics', rows, at)}".strip()
        tables.append(Table(title, ["pattern", "source", "data", *columns], rows, note))
        by_number = [
            row
            for n, slices in enumerate(found["by_number"])
            for row in beside(context, "statistics", str(n), ["slices"], [slices], at)
        ]
        title = f"Table 2. Patterns per slice, T = {threshold}"
        note = provenance(context, "statistics", by_number, at)
        tables.append(Table(title, ["patterns", "source", "data", "slices"], by_number, note))
    notes = [f"Patterns: {', '.join(PATTERNS)}. {found['unlabelled_slices']} slices have no labels and are excluded."]
    return Findings(tables, notes=notes, folds=())


EXPERIMENT = Experiment("statistics", "Slices and patients per pattern", "Tables 1 and 2", run)
