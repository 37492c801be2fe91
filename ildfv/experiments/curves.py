"""Fig. 5: ROC and precision–recall curves, with calibration and Brier scores, of the main systems."""

from __future__ import annotations

from ildfv.experiments.context import Context
from ildfv.experiments.experiment import Experiment, Findings
from ildfv.experiments.layers import fisher
from ildfv.experiments.recipes import System
from ildfv.experiments.tables import AUC, BRIER, measured


def systems(context: Context) -> list[System]:
    """The CNN, and Fisher vectors of its first and last convolutional layer."""
    layers = dict.fromkeys((context.preset.dense_layer, context.preset.layer))
    return [context.base, *(fisher(context, layer) for layer in layers)]


def run(context: Context) -> Findings:
    shown = systems(context)
    note = (
        "The curves are in experiments.html. Brier scores use probabilities from a sigmoid fitted on validation slices."
    )
    tables = [
        measured(context, "curves", "Fig. 5. Areas under the ROC curves", shown, AUC, quoted="layers", note=note),
        measured(context, "curves", "Brier scores (lower is better)", shown, BRIER),
    ]
    return Findings(tables, shown, [(other, shown[0]) for other in shown[1:]])


EXPERIMENT = Experiment("curves", "ROC, precision–recall and calibration curves", "Figure 5", run)
