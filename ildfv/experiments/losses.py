"""Tables 3 and 4: logistic loss, L2 and smooth L1 regression of counts, step and ramp, at T = 6000 and 4000."""

from __future__ import annotations

from dataclasses import replace

from ildfv.experiments.context import Context
from ildfv.experiments.experiment import Experiment, Findings
from ildfv.experiments.recipes import Cnn
from ildfv.experiments.statistics import THRESHOLDS
from ildfv.experiments.tables import EMPTY, LABEL_SETS, measured

LOSSES = {"l2": "L2", "smooth-l1": "smooth L1"}
TARGETS = ("counts", "step", "ramp")
SCALING = (
    "Counts are regressed in units of 6000 pixels, so that all targets share one learning rate; the same network is "
    "evaluated at both thresholds. Step: 1 for at least T pixels, else 0. Ramp: 0 up to T/2, 1 for at least 3T/2."
)


def systems(context: Context, threshold: int) -> list[Cnn]:
    """The seven networks evaluated at one T."""
    found = [context.cnn(f"logistic, T = {threshold}", threshold=threshold)]
    if threshold == context.threshold:
        found = [replace(context.base, label=found[0].label)]
    for loss, name in LOSSES.items():
        for target in TARGETS:
            trained_at = THRESHOLDS[0] if target == "counts" else threshold
            label = f"{name} on {target}, T = {threshold}"
            one = context.cnn(label, threshold=trained_at, loss=loss, target=target)
            found.append(replace(one, threshold=threshold))
    return found


def run(context: Context) -> Findings:
    tables, shown, compared = [], [], []
    for number, threshold in zip((3, 4), THRESHOLDS, strict=True):
        here = systems(context, threshold)
        title = f"Table {number}. Losses and targets, T = {threshold}"
        tables.append(measured(context, "losses", title, here, LABEL_SETS, note=f"{SCALING} {EMPTY}"))
        shown += here
        compared += [(other, here[0]) for other in here[1:]]
    return Findings(tables, shown, compared)


EXPERIMENT = Experiment("losses", "Losses and targets", "Tables 3 and 4", run)
