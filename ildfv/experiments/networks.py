"""Comparison of CNN-F with its multi-head variant, with VGG-19, and with other networks given by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ildfv.evaluation.tables import Table
from ildfv.experiments.context import Context
from ildfv.experiments.experiment import Experiment, Findings
from ildfv.experiments.recipes import Cnn
from ildfv.experiments.results import history
from ildfv.experiments.speed import TIME, busy, device_name, seconds
from ildfv.experiments.tables import EMPTY, LABEL_SETS, OURS, SOURCE, measured

TIMED = 3  # number of timed slices; the largest network takes a second per slice on a busy CPU


def run(context: Context) -> Findings:
    limit = context.preset.network_folds
    base = replace(context.cnn(context.preset.network, loss="balanced-logistic"), folds=limit)
    others = [
        replace(context.cnn(name, loss="balanced-logistic", network=name, **given), folds=limit)
        for name, given in context.preset.networks.items()
    ]
    folds = ", ".join(map(str, context.held_out(base)))
    note = "All networks are trained from scratch with the balanced logistic loss, T = 4000. "
    note += f"Held-out folds: {folds}. {EMPTY}"
    tables = [
        measured(context, "Networks", [base, *others], LABEL_SETS, note=note),
        learned(context, base, *others),
    ]
    return Findings(tables, [base, *others], [(other, base) for other in others])


def learned(context: Context, *systems: Cnn) -> Table:
    """A table with each network's time per slice, and its losses in the first and last epoch of one fold."""
    fold = context.held_out()[0]
    rows = []
    for system in systems:
        first, last = (history(context, system, fold)[i] for i in (0, -1))
        losses = [first["loss"], last["loss"], last["validation_loss"]]
        rows.append(
            [
                system.label,
                OURS,
                context.slices.data,
                system.settings.epochs,
                *losses,
                device_name(context),
                time(context, system),
            ]
        )
    columns = [
        *SOURCE,
        "epochs",
        "loss, first epoch",
        "loss, last epoch",
        "validation loss, last epoch",
        "device",
        TIME,
    ]
    note = (
        f"Losses are of networks trained without fold {fold}. Times are medians over {TIMED} slices, processed one "
        f"at a time, for a network of the same architecture with random weights. {busy()}"
    )
    return Table("Training of the networks", columns, rows, note)


def time(context: Context, system: Cnn) -> float:
    """The time per slice in milliseconds."""
    from ildfv.train.networks import SIZE, build

    network = build(system.settings.network).to(context.device).eval()
    image = torch.zeros(1, 3, SIZE, SIZE, dtype=torch.uint8)

    def answer(_: int) -> torch.Tensor:
        with torch.inference_mode():
            return network(image.to(context.device)).cpu()

    return round(1000 * float(np.median(seconds(answer, TIMED))), 2)


EXPERIMENT = Experiment("networks", "Multi-head CNN-F, VGG-19 and others", None, run)
