"""CNN-F compared with its multi-head variant, VGG-19 and any other network by name."""

from __future__ import annotations

from dataclasses import replace

import torch

from ildfv.evaluation.tables import Table
from ildfv.experiments.context import Context
from ildfv.experiments.experiment import Experiment, Findings
from ildfv.experiments.recipes import Cnn
from ildfv.experiments.results import history
from ildfv.experiments.speed import TIME, busy, device_name, milliseconds
from ildfv.experiments.tables import EMPTY, LABEL_SETS, SOURCE, measured

TIMED = 3  # slices; the largest network takes a second per slice on a busy CPU


def run(context: Context) -> Findings:
    limit = context.preset.network_folds
    base = replace(context.base, label=context.preset.network, folds=limit)
    others = [
        replace(context.cnn(name, network=name, **given), folds=limit)
        for name, given in context.preset.networks.items()
    ]
    folds = ", ".join(map(str, context.held_out(base)))
    note = f"All networks are trained from scratch; {base.label} is the CNN of the other tables. "
    note += f"Held-out folds: {folds}. {EMPTY}"
    tables = [
        measured(context, "networks", "Networks", [base, *others], LABEL_SETS, note=note),
        learned(context, base, *others),
    ]
    return Findings(tables, [base, *others], [(other, base) for other in others])


def learned(context: Context, *systems: Cnn) -> Table:
    """Loss of each network at the start and end of training without the first fold, and its time per slice."""
    fold = context.held_out()[0]
    rows = []
    for system in systems:
        first, last = (history(context, system, fold)[i] for i in (0, -1))
        losses = [first["loss"], last["loss"], last["validation_loss"]]
        rows.append(
            [
                system.label,
                "this run",
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
        f"Without fold {fold}. A network whose scores are all 0 has a logistic loss of 4 ln 2 = 2.773. Times: "
        f"median of {TIMED} slices, one at a time, for a network of the same architecture with random weights. {busy()}"
    )
    return Table("Training of the networks", columns, rows, note)


def time(context: Context, system: Cnn) -> float:
    """Milliseconds per slice."""
    from ildfv.train.networks import SIZE, build

    network = build(system.settings.network).to(context.device).eval()
    image = torch.zeros(1, 3, SIZE, SIZE, dtype=torch.uint8)

    def answer(_: int) -> torch.Tensor:
        with torch.inference_mode():
            return network(image.to(context.device)).cpu()

    return milliseconds(answer, TIMED)


EXPERIMENT = Experiment("networks", "Multi-head CNN-F, VGG-19 and others", None, run)
