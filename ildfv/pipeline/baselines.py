"""Baselines: lung densitometry, lung area and prevalence, fitted on training patients and scored like other systems."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.estimators.heads import Head, fit_head
from ildfv.evaluation.baselines import PREFIX
from ildfv.evaluation.documents import Results
from ildfv.pipeline.baseline_features import HISTOGRAM, features, scan_features
from ildfv.pipeline.kept import FINGERPRINT, Kept, fingerprint_of
from ildfv.pipeline.labels import as_targets
from ildfv.pipeline.score import score
from ildfv.pipeline.split import Split, load_folds, split_slices
from ildfv.pipeline.units import patients_of, presence_of, units_of
from ildfv.pipeline.workspace import Workspace
from ildfv.progress import SILENT, Progress

WEAK = (1e-3,)  # one fixed penalty: with a single feature, it changes the scale of the scores but not their order


def score_baselines(
    root: Path, *, fold: int | None = None, kept: Kept | None = None, progress: Progress = SILENT
) -> list[Results]:
    """The results of all baselines on one held-out fold, or on every fold. They are also written to results/.

    The scores are computed by ridge regression from the histogram, and by logistic regression from the rank of the
    single feature of each other baseline. Both are fitted on the training patients of the fold. The features of a slice
    without lung are replaced by their means over the training slices. With labels of scans, the features and scores are
    those of scans (see `baseline_features`). Decision thresholds are fitted on cross-validated scores of the training
    patients. If the slices have format 1, which has no densities, only lung area and prevalence are scored, and a note
    states the remedy. kept: if given, finished results with the same inputs are returned and listed in `kept`, and
    these baselines are not fitted again.

    InputError: there is no such fold, or slices, labels or folds are missing or not valid.
    """
    workspace = Workspace.open(root)
    slices, folds = workspace.slices(), load_folds(workspace)
    found = features(slices, progress)
    if slices.scan_labels is not None:
        found = {name: scan_features(slices, name, values) for name, values in found.items()}
    wanted = range(folds.n_folds) if fold is None else [fold]
    results = []
    with progress.task("Scoring baselines", total=len(found) * len(wanted)) as advance:
        for one in wanted:
            split = split_slices(slices, folds, one)
            for name, values in found.items():
                results.append(_score(workspace, slices, split, name, values, kept))
                advance(1)
    return results


def inputs(name: str, values: np.ndarray, fit: np.ndarray) -> np.ndarray:
    """The inputs (N, p) of the regression: the features without NaN and, except for the histogram, as ranks.

    fit: rows on which the regression is fitted. NaN is replaced by the mean of these rows.
    """
    known = values[fit][np.isfinite(values[fit]).all(axis=1)]
    filled = np.where(np.isfinite(values), values, known.mean(axis=0) if len(known) else 0.0)
    return filled if name == HISTOGRAM else ranked(filled, filled[fit])


def fit_baseline(name: str, values: np.ndarray, truth: np.ndarray, patients: np.ndarray, seed: int) -> Head:
    """The fitted head of one baseline. values: the result of `inputs`, (n, p). truth: 0, 1 or NaN, (n, C)."""
    if name == HISTOGRAM:
        return fit_head("ridge", values, truth, patients, seed=seed)
    return fit_head("logistic", values, truth, patients, penalties=WEAK, seed=seed)


def ranked(values: np.ndarray, fit: np.ndarray) -> np.ndarray:
    """The rank of each value (N, 1) among the values `fit` (n, 1), from 0 to 1, continued linearly beyond their range.

    A logistic regression on ranks has a slope whose sign gives a training AUC of at least 0.5. On the values
    themselves, a few extreme values can reverse the sign, because it is that of the difference between class means.
    """
    known, numbers = np.unique(fit, return_counts=True)
    if len(known) < 2:
        return np.zeros_like(values)
    middle = (np.cumsum(numbers) - numbers / 2) / len(fit)
    beyond = (values - np.clip(values, known[0], known[-1])) / (known[-1] - known[0])
    return np.interp(values, known, middle) + beyond


def _score(
    workspace: Workspace, slices: Slices, split: Split, name: str, values: np.ndarray, kept: Kept | None
) -> Results:
    system = PREFIX + name
    fingerprint = fingerprint_of(workspace, slices, split, {"baseline": name})
    finished = None if kept is None else kept.finished(workspace, split, system, fingerprint)
    if finished is not None:
        return finished
    train, test = units_of(slices, split.train), units_of(slices, split.test)
    truth = as_targets(presence_of(slices, train, workspace.settings.threshold))
    filled = inputs(name, values, train)
    head = fit_baseline(name, filled[train], truth, patients_of(slices, train), workspace.settings.seed)
    return score(
        workspace,
        slices,
        replace(split, validation=split.train),  # thresholds are fitted on cross-validated scores
        system=system,
        validation_scores=head.held_out,
        test_scores=head.predict(filled[test]),
        settings={
            "baseline": {"name": name, "penalties": [_number(p) for p in head.penalties]},
            FINGERPRINT: fingerprint,
        },
    )


def _number(value: float) -> float | None:
    """A float for JSON; None for NaN."""
    return None if np.isnan(value) else float(value)
