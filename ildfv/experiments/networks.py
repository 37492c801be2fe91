"""CNN-F beside its multi-head variant, VGG-19 and any other network by name."""

from __future__ import annotations

from dataclasses import replace

from ildfv.experiments.lab import Lab
from ildfv.experiments.registry import Experiment, Findings
from ildfv.experiments.tables import EMPTY, LABEL_SETS, measured


def run(lab: Lab) -> Findings:
    limit = lab.preset.network_folds
    base = replace(lab.base, label=lab.preset.network, folds=limit)
    others = [replace(lab.cnn(name, network=name, **given), folds=limit) for name, given in lab.preset.networks.items()]
    given = "; ".join(f"{s.label}: {s.settings.epochs} epochs" for s in (base, *others))
    folds = ", ".join(map(str, lab.held_out(base)))
    note = f"All from scratch. {given}; held-out folds: {folds}. {EMPTY}"
    table = measured(lab, "networks", "Networks", [base, *others], LABEL_SETS, note=note)
    return Findings([table], [base, *others], [(other, base) for other in others])


EXPERIMENT = Experiment("networks", "Multi-head CNN-F, VGG-19 and others", None, run)
