"""Table 8: classification without and with class weights β, which are computed from the training slices."""

from __future__ import annotations

from ildfv.experiments import paper
from ildfv.experiments.context import Context
from ildfv.experiments.experiment import Experiment, Findings
from ildfv.experiments.losses import classification
from ildfv.experiments.paper import T4000
from ildfv.experiments.tables import F_ROW, OVERALL, F, measured, of_systems


def run(context: Context) -> Findings:
    plain = context.cnn(f"logistic, not balanced, T = {T4000}", loss="logistic")
    balanced = classification(context, T4000)
    regressed = context.regression(f"smooth L1 on counts, balanced, T = {T4000}", "balanced-smooth-l1")
    rows = {"w/o balancing": plain, "w balancing": balanced}
    pairs = [(balanced, plain), (regressed, context.base)]
    systems = [plain, balanced, context.base, regressed]
    tables = [
        of_systems(context, paper.table(8), rows, F_ROW, OVERALL),
        measured(context, "F with intervals, and balanced regression (Eq. 6)", systems, F),
    ]
    return Findings(tables, systems, pairs)


EXPERIMENT = Experiment("balance", "Balanced losses", "Table 8", run)
