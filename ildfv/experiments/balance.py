"""Table 8: each loss with and without class weights β, computed from the training slices."""

from __future__ import annotations

from ildfv.experiments.context import Context
from ildfv.experiments.experiment import Experiment, Findings
from ildfv.experiments.tables import EMPTY, LABEL_SETS, F, measured

PLAIN = {"logistic": "presence", "l2": "step", "smooth-l1": "step"}  # loss → target
NAMES = {"logistic": "logistic", "l2": "L2 on step", "smooth-l1": "smooth L1 on step"}


def run(context: Context) -> Findings:
    pairs = []
    for loss, target in PLAIN.items():
        plain = context.cnn(NAMES[loss], loss=loss, target=target, keep_weights=loss == "logistic")
        balanced = context.cnn(f"{NAMES[loss]}, balanced", loss=f"balanced-{loss}", target=target)
        pairs.append((balanced, plain))
    systems = [system for balanced, plain in pairs for system in (plain, balanced)]
    tables = [
        measured(context, "balance", "Table 8. Balanced losses, label sets", systems, LABEL_SETS, note=EMPTY),
        measured(context, "balance", "Table 8. Balanced losses, F per pattern", systems, F),
    ]
    return Findings(tables, systems, pairs)


EXPERIMENT = Experiment("balance", "Balanced losses", "Table 8", run)
