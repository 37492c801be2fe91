"""Fig. 5: ROC and precision–recall curves, with calibration and Brier scores, of the main systems."""

from __future__ import annotations

from ildfv.experiments.context import Lab
from ildfv.experiments.layers import fisher
from ildfv.experiments.registry import Experiment, Findings
from ildfv.experiments.systems import System
from ildfv.experiments.tables import AUC, BRIER, measured


def systems(lab: Lab) -> list[System]:
    """The CNN, and its first and last convolution as Fisher vectors."""
    layers = dict.fromkeys((lab.preset.dense_layer, lab.preset.layer))
    return [lab.base, *(fisher(lab, layer) for layer in layers)]


def run(lab: Lab) -> Findings:
    shown = systems(lab)
    note = "Drawn in experiments.html. Brier scores of probabilities by a sigmoid fitted on validation slices."
    tables = [
        measured(lab, "curves", "Fig. 5. Areas under the ROC curves", shown, AUC, quoted="layers", note=note),
        measured(lab, "curves", "Brier scores: lower is better", shown, BRIER),
    ]
    return Findings(tables, shown, [(other, shown[0]) for other in shown[1:]])


EXPERIMENT = Experiment("curves", "ROC, precision–recall and calibration curves", "Figure 5", run)
