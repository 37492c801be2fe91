"""Table 7: training and testing on a small set. Another table compares fractions of the descriptors."""

from __future__ import annotations

import numpy as np

from ildfv.counted import counted
from ildfv.experiments import paper
from ildfv.experiments.context import Context
from ildfv.experiments.experiment import Experiment, Findings
from ildfv.experiments.layers import FC6, columns
from ildfv.experiments.recipes import System
from ildfv.experiments.tables import AUC, AUC_ROW, MEANS, measured, of_systems

SHARES = {"1 % of the descriptors": 0.01, "a third of the descriptors": 1 / 3, "all descriptors": 1.0}
THIRD = (
    "To limit time and memory, the paper uses a random third of the descriptors, both to fit the mixture and to "
    "encode. This package uses all descriptors. This table is the only exception; it shows the effect of the fraction."
)


def run(context: Context) -> Findings:
    share = context.preset.small_share
    network = context.regression("CNN, small set", share=share, keep_weights=True)
    small = columns(context, network, ", small set")
    dense = context.preset.dense_layer
    shares = [context.encoded(f"{dense}, {name}", dense, descriptors=part) for name, part in SHARES.items()]
    splits = [context.split_of(network, fold) for fold in context.held_out()]
    tested = np.concatenate([split.test for split in splits])
    n = len(np.unique(context.slices.patients[tested]))
    note = (
        f"The small set has {100 * share:g} % of the patients of each fold, at least two, drawn at random. Systems are "
        f"trained, validated and tested only on these patients ({counted(len(tested), 'test slice')} of "
        f"{counted(n, 'patient')}). The small "
        "set of the paper is 18k of 240k slices, 7.5 %. The experiment “growth” compares small sets with the whole set "
        f"on the same test patients. {FC6}"
    )
    systems = [*small.values()]
    tables = [
        of_systems(context, paper.table(7), small, AUC_ROW, note),
        measured(context, "Small set, AUC with intervals", systems, AUC),
        measured(context, f"Fractions of the descriptors of {dense}, whole set", shares, MEANS, note=THIRD),
    ]
    compared: list[tuple[System, System]] = [(system, network) for system in systems if system is not network]
    compared += [(shares[-1], system) for system in shares[:-1]]
    return Findings(tables, [*systems, *shares], compared)


EXPERIMENT = Experiment("size", "A small set, and fractions of the descriptors", "Table 7", run)
