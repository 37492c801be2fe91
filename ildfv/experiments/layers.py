"""Tables 5 and 6: AUC and F per layer, for Fisher vectors and for plain activations, compared with the CNN."""

from __future__ import annotations

from ildfv.experiments.context import Context
from ildfv.experiments.experiment import Experiment, Findings
from ildfv.experiments.recipes import Encoded, System
from ildfv.experiments.tables import AUC, F, measured

NOTE = "Both use the same PCA and regression. Rows “activations” encode the flattened activation map."


def fisher(context: Context, layer: str) -> Encoded:
    """Fisher vectors of the layer."""
    return context.encoded(f"{layer}, Fisher vector", layer)


def plain(context: Context, layer: str) -> Encoded:
    """The flattened activations of the layer, the paper's baseline."""
    return context.encoded(f"{layer}, activations", layer, encoder="flat")


def run(context: Context) -> Findings:
    pairs = [(fisher(context, layer), plain(context, layer)) for layer in context.preset.layers]
    systems: list[System] = [context.base, *(system for pair in pairs for system in pair)]
    tables = [
        measured(context, "layers", "Table 5. AUC by layer", systems, AUC, note=NOTE),
        measured(context, "layers", "Table 6. F by layer", systems, F, note=NOTE),
    ]
    return Findings(tables, systems, [*pairs, *((one, context.base) for one, _ in pairs)])


EXPERIMENT = Experiment("layers", "Layers, with and without Fisher vectors", "Tables 5 and 6", run)
