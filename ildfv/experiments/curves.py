"""Fig. 5: ROC and precision–recall curves at T = 6000 and 4000, and AUC and Brier scores of the same systems."""

from __future__ import annotations

from dataclasses import replace

from ildfv.experiments.context import Context
from ildfv.experiments.experiment import Experiment, Findings
from ildfv.experiments.layers import fisher
from ildfv.experiments.losses import classification, smooth_l1
from ildfv.experiments.paper import THRESHOLDS
from ildfv.experiments.recipes import System
from ildfv.experiments.tables import AUC, BRIER, measured


def systems(context: Context, threshold: int) -> list[System]:
    """Regression, classification, and Fisher vectors of the first and last convolutional layer, evaluated at T."""
    at = f", T = {threshold}"
    layers = dict.fromkeys((context.preset.dense_layer, context.preset.layer))
    vectors = [replace(fisher(context, layer, suffix=at), evaluated_at=threshold) for layer in layers]
    return [smooth_l1(context, threshold), classification(context, threshold), *vectors]


def run(context: Context) -> Findings:
    shown = {threshold: systems(context, threshold) for threshold in THRESHOLDS}
    listed = [system for group in shown.values() for system in group]
    note = (
        "The curves are in experiments.html. Brier scores use probabilities from a sigmoid that is fitted on "
        "validation slices. Regressions of counts are fitted once, for T = 4000, and evaluated at both values of T."
    )
    tables = [
        measured(context, "Areas under the ROC curves of Fig. 5", listed, AUC, note=note),
        measured(context, "Brier scores (lower is better)", listed, BRIER),
    ]
    pairs = [(other, group[0]) for group in shown.values() for other in group[1:]]
    return Findings(tables, listed, pairs)


EXPERIMENT = Experiment("curves", "ROC, precision–recall and calibration curves", "Figure 5", run)
