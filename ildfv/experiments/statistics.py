"""Tables 1 and 2: slices and patients per pattern, and patterns per slice, at both thresholds."""

from __future__ import annotations

from ildfv.evaluation.statistics import statistics
from ildfv.evaluation.tables import Table
from ildfv.experiments.context import Lab
from ildfv.experiments.registry import Experiment, Findings
from ildfv.experiments.tables import beside, told
from ildfv.patterns import PATTERNS, presence

NONE = "None of them: its patients are those that show no pattern on any of their slices."
THRESHOLDS = (6000, 4000)  # pixels on the original grid: the paper's two choices of T


def run(lab: Lab) -> Findings:
    tables = []
    for threshold in THRESHOLDS:
        found = statistics(
            presence(lab.slices.counts, threshold), lab.slices.patients.tolist(), labels=PATTERNS, threshold=threshold
        )
        at = f", T = {threshold}"
        shown = {**found["per_pattern"], "none of them": found["healthy"]}
        shown["all"] = {"slices": found["slices"], "patients": found["patients"]}
        columns = ["slices", "patients"]
        rows = [
            row
            for label, n in shown.items()
            for row in beside(lab, "statistics", label, columns, [n[c] for c in columns], at)
        ]
        title = f"Table 1. Slices and patients per pattern, T = {threshold}"
        note = f"{NONE} {told(lab, 'statistics', rows, at)}".strip()
        tables.append(Table(title, ["pattern", "source", "data", *columns], rows, note))
        by_number = [
            row
            for n, slices in enumerate(found["by_number"])
            for row in beside(lab, "statistics", str(n), ["slices"], [slices], at)
        ]
        title = f"Table 2. Patterns per slice, T = {threshold}"
        note = told(lab, "statistics", by_number, at)
        tables.append(Table(title, ["patterns", "source", "data", "slices"], by_number, note))
    notes = [f"Patterns: {', '.join(PATTERNS)}. {found['unlabelled_slices']} slices have no labels and are left out."]
    return Findings(tables, notes=notes, folds=())


EXPERIMENT = Experiment("statistics", "What the slices show", "Tables 1 and 2", run)
