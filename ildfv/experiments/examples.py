"""Fig. 6: four correctly predicted slices with several patterns and two failures, drawn at random with a fixed seed."""

from __future__ import annotations

import numpy as np

from ildfv.evaluation.tables import Table
from ildfv.experiments import curves
from ildfv.experiments.context import Context
from ildfv.experiments.experiment import Experiment, Findings
from ildfv.experiments.losses import smooth_l1
from ildfv.experiments.paper import T6000
from ildfv.experiments.recipes import System
from ildfv.experiments.results import documents, predictions
from ildfv.patterns import PATTERNS
from ildfv.pipeline.report import slice_examples
from ildfv.report.content import Example

RIGHT, WRONG = 4, 2
RULE = (
    f"Fig. 6: {RIGHT} slices with at least two patterns on which the first system predicts exactly these patterns, and "
    f"{WRONG} slices with at least two present or predicted patterns on which its prediction is wrong. The first "
    "system is the one of Fig. 5 with the highest mean AUC. The slices are drawn at random with a fixed seed from all "
    f"held-out folds, from different patients if possible, with T = {T6000}."
)


def systems(context: Context) -> list[System]:
    """The best system of Fig. 5, whose predictions determine which slices are chosen, and the smooth L1 network."""
    candidates = curves.systems(context, T6000)
    aucs = [documents(context, system)["pooled"].overall.mean_auc for system in candidates]
    best = max(range(len(candidates)), key=lambda i: -1.0 if aucs[i] is None else aucs[i])
    return list(dict.fromkeys((candidates[best], smooth_l1(context, T6000))))


def choose(truth: np.ndarray, predicted: np.ndarray, patients: np.ndarray, *, seed: int) -> tuple[list[int], list[int]]:
    """(rows of correctly, rows of incorrectly predicted slices), chosen by RULE; fewer if there are not enough.

    truth, predicted: bool (N, 4).
    """
    exact = (truth == predicted).all(axis=1)
    several = np.maximum(truth.sum(axis=1), predicted.sum(axis=1)) > 1
    rng, used = np.random.default_rng(seed), set()
    found = []
    for where, n in ((exact & (truth.sum(axis=1) > 1), RIGHT), (~exact & several, WRONG)):
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
    truth = np.concatenate([p.presence for p in first]) > 0
    predicted = np.concatenate([p.decisions.predict(p.scores) for p in first]) > 0
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
