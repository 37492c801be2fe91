"""The results of systems over pooled folds, and paired tests between them."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.evaluation.baselines import is_baseline, worth_comparing
from ildfv.evaluation.comparisons import compare
from ildfv.evaluation.documents import Comparison, Results
from ildfv.evaluation.results import evaluate
from ildfv.pipeline.scored import Scored
from ildfv.pipeline.workspace import Workspace

Pool = dict[str, list[Scored]]  # predictions by system, in the order of the folds


def pool(scored: list[Scored]) -> Pool:
    """The predictions of the systems that can be pooled, because they were scored on the same slices of the same folds.

    Of all sets of at least two folds, the set on which most systems were scored is chosen. Systems that were scored on
    other folds or slices are omitted. The result is {} if no system was scored on two folds.
    """
    by_system: Pool = {}
    for rows, predictions in sorted(scored, key=lambda one: one[1].fold):
        by_system.setdefault(predictions.system, []).append((rows, predictions))
    folds = {name: tuple(p.fold for _, p in parts) for name, parts in by_system.items()}
    several = [one for one in folds.values() if len(one) > 1]
    if not several:
        return {}
    common = max(sorted(set(several)), key=lambda one: (several.count(one), len(one)))
    first = next(parts for name, parts in by_system.items() if folds[name] == common)
    return {
        name: parts
        for name, parts in by_system.items()
        if folds[name] == common and all(np.array_equal(a, b) for (a, _), (b, _) in zip(parts, first, strict=True))
    }


def pooled_results(workspace: Workspace, slices: Slices, systems: Pool) -> list[Results]:
    """The results of each system over all its folds, by decreasing mean AUC, and the baselines after the systems."""
    settings = workspace.settings
    results = [
        evaluate([p for _, p in parts], data=slices.data, threshold=settings.threshold, seed=settings.seed, settings={})
        for parts in systems.values()
    ]
    return sorted(results, key=_rank)


def _rank(results: Results) -> tuple[bool, float]:
    overall = results.overall
    mean = overall.mean_auc if overall.mean_auc is not None else overall.supported_mean_auc
    return is_baseline(results.system), 0.0 if mean is None else -mean


def pooled_comparisons(systems: Pool, seed: int) -> list[Comparison]:
    """Paired tests over all folds between all pairs of systems, except pairs of baselines."""
    return [
        compare([p for _, p in systems[a]], [p for _, p in systems[b]], seed=seed)
        for a, b in combinations(systems, 2)
        if worth_comparing(a, b)
    ]
