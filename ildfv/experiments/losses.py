"""Tables 3 and 4: balanced logistic loss, and L2 and smooth L1 regression of counts, at T = 6000 and 4000.

Further tables compare the other targets of Fig. 3, and a network with one output layer per pattern.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ildfv.experiments import paper
from ildfv.experiments.context import Context
from ildfv.experiments.experiment import Experiment, Findings
from ildfv.experiments.paper import THRESHOLDS
from ildfv.experiments.recipes import Cnn
from ildfv.experiments.tables import F_ROW, LABEL_SETS, OVERALL, F, measured, of_systems

LOSSES = {"l2": "L2", "smooth-l1": "smooth L1"}
NOTE = (
    "Classification uses the balanced loss, because the classification row of the paper's Table 4 equals the row with "
    "balancing of Table 8. Both regressions predict pixel counts; each network is trained once and evaluated at both "
    "values of T. Smooth L1 is quadratic up to an error of one pixel. Network outputs are in units of 4000 pixels, and "
    f"the losses are rescaled accordingly, so that the same learning rate can be used for all losses. {OVERALL}"
)
TARGETS = (
    "The target “step” is 0 below T pixels, otherwise 1. The target “ramp” is 0 up to T1 = T/2 pixels, 1 from "
    "T2 = 3T/2 pixels, and linear in between. The paper does not state T1 and T2."
)


def printed_systems(context: Context, threshold: int) -> dict[str, Cnn]:
    """The networks of Table 3 or 4, by row label."""
    at = f", T = {threshold}"
    l2 = context.regression(f"L2 on counts{at}", "l2")
    return {
        "classification": classification(context, threshold),
        "regression, L2 loss": replace(l2, threshold=threshold),
        "regression, smooth L1 loss": smooth_l1(context, threshold),
    }


def classification(context: Context, threshold: int) -> Cnn:
    """The network with the balanced logistic loss."""
    return context.cnn(f"classification, T = {threshold}", threshold=threshold, loss="balanced-logistic")


def smooth_l1(context: Context, threshold: int) -> Cnn:
    """The network that regresses counts with the smooth L1 loss, which is the base network, evaluated at T."""
    return replace(context.base, label=f"smooth L1 on counts, T = {threshold}", threshold=threshold)


def other_systems(context: Context, threshold: int) -> list[Cnn]:
    """Networks with other losses and targets, at one T."""
    at = f", T = {threshold}"
    found = [context.cnn(f"logistic, not balanced{at}", threshold=threshold)]
    if context.preset.network == "cnnf":
        given: dict[str, Any] = {"network": "cnnf-multihead", "loss": "balanced-logistic"}
        found.append(context.cnn(f"classification, one output layer per pattern{at}", threshold=threshold, **given))
    for loss, name in LOSSES.items():
        for target in ("step", "ramp"):
            found.append(context.cnn(f"{name} on {target}{at}", threshold=threshold, loss=loss, target=target))
    return found


def run(context: Context) -> Findings:
    tables, compared = [], []
    shown: list[Cnn] = []
    for number, threshold in zip((3, 4), THRESHOLDS, strict=True):
        here = printed_systems(context, threshold)
        tables.append(of_systems(context, paper.table(number), here, F_ROW, NOTE))
        first, *others = here.values()
        shown += here.values()
        compared += [(other, first) for other in others]
    systems = list(shown)
    for threshold in context.preset.target_thresholds:
        more = other_systems(context, threshold)
        systems += more
        compared += [(system, classification(context, threshold)) for system in more]
    tables.append(measured(context, "F with intervals, and other losses and targets", systems, F, note=TARGETS))
    tables.append(measured(context, "Label sets of the same systems", systems, LABEL_SETS, note=OVERALL))
    return Findings(tables, systems, compared)


EXPERIMENT = Experiment("losses", "Losses and targets", "Tables 3 and 4", run)
