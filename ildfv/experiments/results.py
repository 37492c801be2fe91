"""Predictions, result documents and paired tests of systems."""

from __future__ import annotations

from typing import Any

from ildfv.evaluation.comparisons import compare_over_seeds
from ildfv.evaluation.documents import Comparison
from ildfv.evaluation.predictions import Predictions
from ildfv.evaluation.results import evaluate, spread
from ildfv.evaluation.thresholds import Decisions
from ildfv.experiments import fitted
from ildfv.experiments.context import Context
from ildfv.experiments.recipes import Cnn, System
from ildfv.experiments.scoring import scores
from ildfv.patterns import PATTERNS
from ildfv.pipeline.split import labelled_presence
from ildfv.pipeline.units import unlearned_patterns


def predictions(context: Context, system: System) -> list[Predictions]:
    """The system's predictions on each held-out fold. Decision thresholds are fitted on the validation slices."""

    def predicted(fold: int) -> Predictions:
        found, split = scores(context, system, fold), context.split_of(system, fold)
        truth = labelled_presence(context.slices, split.validation, system.threshold)
        return Predictions(
            system=system.label,
            fold=fold,
            scores=found.test,
            presence=labelled_presence(context.slices, split.test, system.threshold),
            patients=context.slices.patients[split.test],
            decisions=Decisions.fit(truth, found.validation),
            labels=PATTERNS,
            unlearned=unlearned_patterns(context.slices, split.train, system.threshold),
        )

    return context.remember(("predictions", system), lambda: [predicted(fold) for fold in context.held_out(system)])


def documents(context: Context, system: System) -> dict:
    """{"pooled": results over all held-out folds, "folds": list of the results of each fold, "spread": `Spread`}."""

    def evaluated() -> dict:
        found = predictions(context, system)
        options: dict[str, Any] = {
            "data": context.slices.data,
            "threshold": system.threshold,
            "n_resamples": context.preset.resamples,
            "seed": context.workspace.settings.seed,
            "settings": {"slices": context.slices.key, "preset": context.preset.name},
        }
        folds = [evaluate(of_fold, **options) for of_fold in found]
        return {"pooled": evaluate(found, **options), "folds": folds, "spread": spread(folds)}

    return context.remember(("documents", system), evaluated)


def compare(context: Context, a: System, b: System) -> Comparison:
    """Tests of two systems, paired by patient, over the folds that both have and over the preset's seeds."""

    def compared() -> Comparison:
        pairs = []
        for number in range(context.preset.seeds):
            ours, theirs = (predictions(context, system.reseeded(number)) for system in (a, b))
            n = min(len(ours), len(theirs))
            pairs.append((ours[:n], theirs[:n]))
        options = {"n_resamples": context.preset.resamples, "seed": context.workspace.settings.seed}
        return compare_over_seeds(pairs, **options)

    return context.remember(("compare", a, b), compared)


def history(context: Context, system: Cnn, fold: int) -> list[dict]:
    """The network's training history, one dict per epoch.

    Scores are computed first, so that a network is not trained only for its history.
    """
    scores(context, system, fold)
    return fitted.history(context, system, fold)
