"""Table 7: some and all of the patients; 1 %, a third (the paper's share) and all of the descriptors."""

from __future__ import annotations

from ildfv.experiments.context import Context
from ildfv.experiments.experiment import Experiment, Findings
from ildfv.experiments.recipes import System
from ildfv.experiments.tables import MEANS, measured

SMALL = 0.3  # of the fit patients
SHARES = {"1 % of the descriptors": 0.01, "a third of the descriptors": 1 / 3, "all descriptors": 1.0}


def run(context: Context) -> Findings:
    layer, dense = context.preset.layer, context.preset.dense_layer
    few = context.cnn("CNN, small set", patients=SMALL, keep_weights=True)
    whole = context.cnn("CNN, whole set", keep_weights=True)
    few_fisher = context.encoded("Fisher vector, small set", layer, network=few)
    whole_fisher = context.encoded("Fisher vector, whole set", layer, network=whole)
    shares = [context.encoded(f"{dense}, {name}", dense, descriptors=share) for name, share in SHARES.items()]
    sets: list[System] = [few, few_fisher, whole, whole_fisher]
    title = f"Table 7. Small set and whole set; Fisher vectors of {layer}"
    note = (
        f"Small set: {100 * SMALL:.0f} % of the fit patients, drawn at random, to train networks and fit "
        "mixture, PCA and regression. Validation and test slices are the same."
    )
    tables = [
        measured(context, "size", title, sets, MEANS, note=note),
        measured(context, "size", f"Share of the descriptors of {dense}, for both mixture and vectors", shares, MEANS),
    ]
    compared: list[tuple[System, System]] = [
        (few_fisher, few),
        (whole_fisher, whole),
        *((shares[-1], one) for one in shares[:-1]),
    ]
    return Findings(tables, [*sets, *shares], compared)


EXPERIMENT = Experiment("size", "Small and whole set, some and all descriptors", "Table 7", run)
