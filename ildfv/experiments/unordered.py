"""Other unordered encoders with the same layer, PCA and regression. Average pooling is the simplest encoder."""

from __future__ import annotations

from ildfv.experiments.context import Context
from ildfv.experiments.experiment import Experiment, Findings
from ildfv.experiments.tables import AUC, MEANS, measured

NAMES = {
    "fisher": "Fisher vector",
    "pyramid": "spatial-pyramid Fisher vector",
    "vlad": "VLAD",
    "words": "bag of visual words",
    "mean": "last-layer average pooling + linear",
    "max": "last-layer maximum pooling + linear",
}


def run(context: Context) -> Findings:
    layer = context.preset.layer
    systems = [context.encoded(f"{layer}, {name}", layer, encoder=encoder) for encoder, name in NAMES.items()]
    p = context.preset
    note = (
        "The pyramid consists of the map and its quarters. VLAD has as many centres as the mixture has components, "
        f"{p.components}. The bag of words has {p.words} words. VLAD and the bag of words use k-means centres and hard "
        "assignment."
    )
    title = f"Encoders of {layer}"
    tables = [measured(context, title, systems, MEANS | AUC, note=note)]
    return Findings(tables, systems, [(systems[0], other) for other in systems[1:]])


EXPERIMENT = Experiment("unordered", "Other unordered encoders", None, run)
