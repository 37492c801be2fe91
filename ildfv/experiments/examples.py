"""Fig. 6: four correctly predicted slices with several patterns and two failures, drawn at random with a fixed seed."""

from __future__ import annotations

import numpy as np

from ildfv.evaluation.predictions import Predictions
from ildfv.evaluation.tables import Table
from ildfv.experiments import curves
from ildfv.experiments.context import Context
from ildfv.experiments.experiment import Experiment, Findings
from ildfv.experiments.losses import smooth_l1
from ildfv.experiments.paper import THRESHOLDS
from ildfv.experiments.recipes import System
from ildfv.experiments.results import documents, predictions
from ildfv.patterns import PATTERNS
from ildfv.pipeline.report import slice_examples
from ildfv.report.content import Example

RIGHT, WRONG = 4, 2
RULE = (
    f"Fig. 6: {RIGHT} slices with at least two patterns on which the first system predicts exactly these patterns, and "
    f"{WRONG} slices with at least two present or predicted patterns on which its prediction is wrong. The first "
    "system is the system of Fig. 5 that predicts the patterns of the most such slices exactly or, if several systems "
    "are equal, the one with the highest mean AUC. It is chosen on the slices that are shown, so the figure does not "
    "measure accuracy. The slices are drawn at random with a fixed seed from all held-out folds, from different "
    "patients if possible."
)


def systems(context: Context) -> list[System]:
    """The system of Fig. 5 that determines which slices are chosen, and the smooth L1 network at the same threshold."""
    candidates = [(t, system) for t in THRESHOLDS for system in curves.systems(context, t)]

    def rank(candidate: tuple[int, System]) -> tuple[int, float]:
        system = candidate[1]
        right = sum(int(right_with_several(*flags(p)).sum()) for p in predictions(context, system))
        auc = documents(context, system)["pooled"].overall.mean_auc
        return right, -1.0 if auc is None else auc

    threshold, best = max(candidates, key=rank)
    return list(dict.fromkeys((best, smooth_l1(context, threshold))))


def flags(found: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """(present, predicted patterns) of the slices, bool (N, 4) each."""
    return found.presence > 0, found.decisions.predict(found.scores) > 0


def right_with_several(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Whether a slice has at least two patterns and exactly these are predicted, bool (N,). Arguments: bool (N, 4)."""
    return np.asarray((truth == predicted).all(axis=1) & (truth.sum(axis=1) > 1))


def choose(truth: np.ndarray, predicted: np.ndarray, patients: np.ndarray, *, seed: int) -> tuple[list[int], list[int]]:
    """(rows of the correctly predicted slices, rows of the failures), chosen by RULE; fewer if there are not enough.

    truth, predicted: bool (N, 4).
    """
    several = np.maximum(truth.sum(axis=1), predicted.sum(axis=1)) > 1
    right = right_with_several(truth, predicted)
    rng, used = np.random.default_rng(seed), set()
    found = []
    for where, n in ((right, RIGHT), (several & ~right, WRONG)):
        order = rng.permutation(np.flatnonzero(where)).tolist()
        chosen: list[int] = []
        while order and len(chosen) < n:
            row = next((r for r in order if patients[r] not in used), order[0])
            order.remove(row)
            used.add(patients[row])
            chosen.append(row)
        found.append(chosen)
    return found[0], found[1]


def pictures(context: Context) -> list[Example]:
    """The slices of Fig. 6, with the predictions of both `systems`."""
    found = [predictions(context, system) for system in systems(context)]
    first = found[0]
    folds = np.concatenate([np.full(len(p.scores), i) for i, p in enumerate(first)])
    rows = np.concatenate([np.arange(len(p.scores)) for p in first])
    truth, predicted = map(np.concatenate, zip(*map(flags, first), strict=True))
    patients = np.concatenate([p.patients for p in first])
    chosen = [row for part in choose(truth, predicted, patients, seed=context.workspace.settings.seed) for row in part]
    return [
        example
        for i in chosen
        for example in slice_examples(
            context.slices, context.split(first[folds[i]].fold).test, [p[folds[i]] for p in found], [rows[i]]
        )
    ]


def run(context: Context) -> Findings:
    def names(flags) -> str:
        return " + ".join(p for p, on in zip(PATTERNS, flags, strict=True) if on) or "none"

    shown = pictures(context)
    rows: list[list] = [
        [example.caption, "this run", context.slices.data, names(example.truth), call.system, names(call.predicted)]
        for example in shown
        for call in example.predictions
    ]
    right = sum(example.is_right(example.predictions[0]) for example in shown)
    missing = f"Correctly predicted slices with at least two patterns: {right}." if right < RIGHT else ""
    columns = ["slice", "source", "data", "present", "system", "predicted"]
    note = f"{RULE} {missing} The slices are in experiments.html.".replace("  ", " ")
    return Findings([Table("Slices of Fig. 6", columns, rows, note)])


EXPERIMENT = Experiment("examples", "Slices with several patterns, right and wrong", "Figure 6", run)
