"""CNN-F beside its multi-head variant, VGG-19 and any other network by name."""

from __future__ import annotations

from dataclasses import replace

import torch

from ildfv.experiments.context import Lab
from ildfv.experiments.registry import Experiment, Findings
from ildfv.experiments.schema import Table
from ildfv.experiments.speed import TIME, busy, device_name, milliseconds
from ildfv.experiments.systems import Cnn
from ildfv.experiments.tables import EMPTY, LABEL_SETS, SOURCE, measured

TIMED = 3  # slices; the largest network takes a second for each on a busy CPU


def run(lab: Lab) -> Findings:
    limit = lab.preset.network_folds
    base = replace(lab.base, label=lab.preset.network, folds=limit)
    others = [replace(lab.cnn(name, network=name, **given), folds=limit) for name, given in lab.preset.networks.items()]
    folds = ", ".join(map(str, lab.held_out(base)))
    note = f"All from scratch, {base.label} being the CNN of other tables; held-out folds: {folds}. {EMPTY}"
    tables = [
        measured(lab, "networks", "Networks", [base, *others], LABEL_SETS, note=note),
        learned(lab, base, *others),
    ]
    return Findings(tables, [base, *others], [(other, base) for other in others])


def learned(lab: Lab, *systems: Cnn) -> Table:
    """How each network learned without the first fold, and how long it takes to answer."""
    fold = lab.held_out()[0]
    rows = []
    for system in systems:
        first, last = (lab.history(system, fold)[i] for i in (0, -1))
        losses = [first["loss"], last["loss"], last["validation_loss"]]
        rows.append(
            [
                system.label,
                "this run",
                lab.slices.data,
                system.settings.epochs,
                *losses,
                device_name(lab),
                time(lab, system),
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
        f"Without fold {fold}. A network that answers 0 has a logistic loss of 4 ln 2 = 2.773. Times: median of "
        f"{TIMED} slices, one at a time, by a network of the same kind with fresh weights. {busy()}"
    )
    return Table("Training of the networks", columns, rows, note)


def time(lab: Lab, system: Cnn) -> float:
    """Milliseconds a slice."""
    from ildfv.train.networks import SIZE, build

    network = build(system.settings.network).to(lab.device).eval()
    image = torch.zeros(1, 3, SIZE, SIZE, dtype=torch.uint8)

    def answer(_: int) -> torch.Tensor:
        with torch.inference_mode():
            return network(image.to(lab.device)).cpu()

    return milliseconds(answer, TIMED)


EXPERIMENT = Experiment("networks", "Multi-head CNN-F, VGG-19 and others", None, run)
