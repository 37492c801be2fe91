"""The simple baselines in the experiments, and a table that shows whether the systems beat the best baseline."""

from __future__ import annotations

from collections.abc import Sequence

from ildfv.evaluation.baselines import MEAN, Verdict, best_baselines, verdicts
from ildfv.evaluation.tables import Cell, Table
from ildfv.experiments.context import Context
from ildfv.experiments.paper import T4000
from ildfv.experiments.recipes import Baseline, System
from ildfv.experiments.results import compare, documents
from ildfv.experiments.scoring import features
from ildfv.experiments.tables import OURS, SOURCE
from ildfv.patterns import PATTERNS

EXPLAINED = (
    "Baselines are fitted on the fit patients. Five baselines are logistic regressions on one number each: the "
    "fraction of lung below −950 HU, the 15th percentile, the mean density, the fraction from −600 to −250 HU, and the "
    "lung area. One is a ridge regression on a histogram of lung HU with 32 bins. The prevalence baseline gives every "
    "slice the same score."
)
NOTE = (
    "AUC of the system minus AUC of the baseline that has the highest AUC in that column. The 95 % interval of the "
    "difference is paired by patient. The best baseline is chosen on the test slices, which favours the baselines. "
    f"{EXPLAINED}"
)


def baselines(context: Context, threshold: int = T4000) -> list[Baseline]:
    """All baselines that can be computed for the slices of the context."""
    return [Baseline(name, threshold, context.workspace.settings.seed) for name in features(context)]


def pairs(context: Context, systems: Sequence[System], rivals: Sequence[System]) -> list[tuple[System, System]]:
    """The pairs (system, baseline) to compare: each system with every baseline that is the best in some column.

    rivals: the baselines.
    """
    best = best_baselines([documents(context, rival)["pooled"] for rival in rivals])
    chosen = [rival for rival in rivals if rival.label in best.values()]
    return [(system, rival) for system in systems for rival in chosen]


def against(context: Context, systems: Sequence[System], rivals: Sequence[System]) -> Table:
    """The table of differences in AUC. Each cell states whether the system beats the best baseline of its column.

    rivals: the baselines.
    """
    results = [documents(context, system)["pooled"] for system in (*systems, *rivals)]
    comparisons = [compare(context, a, b) for a, b in pairs(context, systems, rivals)]
    by_cell = {(verdict.system, verdict.measure): verdict for verdict in verdicts(results, comparisons)}
    measures = {f"AUC {pattern}": pattern for pattern in PATTERNS} | {"mean AUC": MEAN}
    rows: list[list[Cell]] = [
        [system.label, OURS, context.slices.data, *(_text(by_cell.get((system.label, m))) for m in measures.values())]
        for system in systems
    ]
    return Table("Against the best baseline", [*SOURCE, *measures], rows, NOTE)


def _text(verdict: Verdict | None) -> str | None:
    """The text of a cell; None without a difference."""
    return None if verdict is None or verdict.difference is None else verdict.cell
