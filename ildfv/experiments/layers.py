"""Tables 5 and 6: AUC and F of Fisher vectors of each layer and of the CNN; flat activations in tables of their own."""

from __future__ import annotations

from ildfv.experiments import paper
from ildfv.experiments.context import Context
from ildfv.experiments.experiment import Experiment, Findings
from ildfv.experiments.recipes import Cnn, Encoded, System
from ildfv.experiments.tables import AUC, AUC_ROW, F_ROW, OVERALL, F, by_pattern, measured

NETWORK = (
    "The network under every Fisher vector, and the column CNN, is the smooth L1 regression of pixel counts (Table 4); "
    "the linear regression is of pixel counts too. T = 4000; the paper does not state the T of its Tables 5 and 7."
)
FC6 = "fc6 has one descriptor per slice, the 4096 outputs of the layer; the paper does not state how it encodes fc6."
FLAT = "The flattened activation map instead of a Fisher vector, with the same PCA and regression."


def fisher(context: Context, layer: str, network: Cnn | None = None, suffix: str = "") -> Encoded:
    """Fisher vectors of the layer, of the base network by default."""
    return context.encoded(f"{layer}, Fisher vector{suffix}", layer, network=network)


def columns(context: Context, network: Cnn, suffix: str = "") -> dict[str, System]:
    """The columns of Tables 5–7: Fisher vectors of the preset's layers, and the network itself."""
    found: dict[str, System] = {
        layer: fisher(context, layer, network, suffix)
        for layer in paper.table(5).columns
        if layer in context.preset.layers
    }
    return found | {"CNN": network}


def run(context: Context) -> Findings:
    shown = columns(context, context.base)
    vectors = [system for system in shown.values() if isinstance(system, Encoded)]
    flat = [
        context.encoded(f"{one.settings.layer}, activations", one.settings.layer, encoder="flat") for one in vectors
    ]
    systems: list[System] = [context.base, *vectors, *flat]
    tables = [
        by_pattern(context, paper.table(5), shown, AUC_ROW, f"{NETWORK} {FC6}"),
        by_pattern(context, paper.table(6), shown, F_ROW, f"{NETWORK} {OVERALL}"),
        measured(context, "AUC by layer with intervals, and of flat activations", systems, AUC, note=FLAT),
        measured(context, "F by layer with intervals, and of flat activations", systems, F, note=FLAT),
    ]
    pairs: list[tuple[System, System]] = [*zip(vectors, flat, strict=True), *((one, context.base) for one in vectors)]
    return Findings(tables, systems, pairs)


EXPERIMENT = Experiment("layers", "Layers under Fisher vectors", "Tables 5 and 6", run)
