"""The scored systems of a workspace: current results, their predictions, and paired tests within a fold."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.evaluation.baselines import Verdict, shared_labels, verdicts, worth_comparing
from ildfv.evaluation.comparisons import compare
from ildfv.evaluation.documents import Comparison, Results
from ildfv.evaluation.predictions import Predictions
from ildfv.patterns import PATTERNS
from ildfv.pipeline.score import read_scores
from ildfv.pipeline.split import load_folds, split_slices
from ildfv.pipeline.units import has_pixel_counts, patients_of, presence_of, unlearned_patterns
from ildfv.pipeline.workspace import Workspace
from ildfv.store.atomic import sha256

Scored = tuple[np.ndarray, Predictions]  # (indices of slices, or of scans (m,), predictions on these)


def current_results(workspace: Workspace, slices: Slices) -> tuple[dict[str, Results], list[str]]:
    """(current results by name, names of all other results).

    Results are current if they were made with the current slices, folds and threshold.
    """
    found = workspace.results()
    folds = sha256(workspace.folds_file) if workspace.folds_file.exists() else None
    inputs = {"slices": slices.key, "folds": folds}
    current = {
        name: results
        for name, results in found.items()
        if all(results.settings.get(k) == v for k, v in inputs.items())
        and results.threshold == workspace.settings.threshold
    }
    return current, sorted(found.keys() - current.keys())


def predictions_of(workspace: Workspace, slices: Slices, name: str, results: Results) -> Scored:
    """The predictions from which the results of one fold were computed."""
    indices, scores = read_scores(workspace, name, results.scores_sha256)
    assert results.fold is not None
    split = split_slices(slices, load_folds(workspace), results.fold)
    predictions = Predictions(
        system=results.system,
        fold=results.fold,
        scores=scores,
        presence=presence_of(slices, indices, results.threshold),
        patients=patients_of(slices, indices),
        decisions=results.decisions[str(results.fold)],
        labels=PATTERNS,
        unit=results.unit,
        pixel_counts=has_pixel_counts(slices),
        unlearned=unlearned_patterns(slices, split.train, results.threshold),
    )
    return indices, predictions


def comparisons_by_fold(scored: list[Scored], seed: int) -> dict[int, list[Comparison]]:
    """By fold, paired tests between all pairs of systems scored on the same slices, except pairs of baselines."""
    found: dict[int, list[Comparison]] = {predictions.fold: [] for _, predictions in scored}
    for (rows_a, a), (rows_b, b) in combinations(scored, 2):
        if a.fold == b.fold and np.array_equal(rows_a, rows_b) and worth_comparing(a.system, b.system):
            found[a.fold].append(compare(a, b, seed=seed))
    return found


def baseline_notes(
    pooled: list[Verdict], results: list[Results], comparisons: dict[int, list[Comparison]]
) -> list[str]:
    """Sentences on systems that do not beat the best baseline: of the pooled folds, or of each fold in `comparisons`.

    pooled: verdicts on the pooled folds. results: those of single folds.
    """
    found: dict[int | None, list[Verdict]] = {None: pooled}
    for fold, tests in sorted(comparisons.items()):
        found[fold] = verdicts([one for one in results if one.fold == fold], tests)
    return shared_labels(found)
