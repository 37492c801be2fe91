"""Tables 5 and 6: AUC and F of each layer, as Fisher vectors and as plain activations, beside the CNN itself."""

from __future__ import annotations

from ildfv.experiments.context import Lab
from ildfv.experiments.registry import Experiment, Findings
from ildfv.experiments.systems import Encoded, System
from ildfv.experiments.tables import AUC, F, measured

NOTE = "Both kinds go through the same PCA and regression; without a Fisher vector the whole map is the vector."


def fisher(lab: Lab, layer: str) -> Encoded:
    """The system of the layer's Fisher vectors."""
    return lab.encoded(f"{layer}, Fisher vector", layer)


def plain(lab: Lab, layer: str) -> Encoded:
    """The system of the layer's activations themselves, flattened, as the paper compares them."""
    return lab.encoded(f"{layer}, activations", layer, encoder="flat")


def run(lab: Lab) -> Findings:
    pairs = [(fisher(lab, layer), plain(lab, layer)) for layer in lab.preset.layers]
    systems: list[System] = [lab.base, *(system for pair in pairs for system in pair)]
    tables = [
        measured(lab, "layers", "Table 5. AUC by layer", systems, AUC, note=NOTE),
        measured(lab, "layers", "Table 6. F by layer", systems, F, note=NOTE),
    ]
    return Findings(tables, systems, [*pairs, *((one, lab.base) for one, _ in pairs)])


EXPERIMENT = Experiment("layers", "Layers, with and without Fisher vectors", "Tables 5 and 6", run)
