"""Tables 5 and 6: AUC and F of Fisher vectors of each layer, and of the CNN. Other tables add flattened activations."""

from __future__ import annotations

from ildfv.experiments import paper
from ildfv.experiments.against import against, baselines, pairs
from ildfv.experiments.context import Context
from ildfv.experiments.experiment import Experiment, Findings
from ildfv.experiments.recipes import Cnn, Encoded, System
from ildfv.experiments.tables import AUC, AUC_ROW, F_ROW, OVERALL, F, measured, of_systems
from ildfv.pipeline.choices import LUNG

NETWORK = (
    "All Fisher vectors are from the layers of one network, the smooth L1 regression of pixel counts (Table 4); the "
    "column CNN shows the results of this network itself. The linear regression on Fisher vectors also predicts pixel "
    "counts. T = 4000; the paper does not state the T of its Tables 5 and 7."
)
FC6 = (
    "fc6 is encoded as one descriptor per slice, the 4096 outputs of the layer; the paper does not state how fc6 is "
    "encoded."
)
FLAT = (
    "Rows with “activations” use the flattened activation map instead of a Fisher vector, with the same PCA and "
    "regression."
)
LUNG_ONLY = (
    "In rows with “lung only”, descriptors are weighted by the fraction of their receptive field that is in the lung "
    "mask. The paper pools whole slices."
)


def fisher(context: Context, layer: str, network: Cnn | None = None, suffix: str = "") -> Encoded:
    """Fisher vectors of a layer of the network; by default of the base network."""
    return context.encoded(f"{layer}, Fisher vector{suffix}", layer, network=network)


def columns(context: Context, network: Cnn, suffix: str = "") -> dict[str, System]:
    """The columns of Tables 5–7: Fisher vectors of the preset's layers, and the outputs of the network."""
    found: dict[str, System] = {
        layer: fisher(context, layer, network, suffix)
        for layer in paper.table(5).columns
        if layer in context.preset.layers
    }
    return found | {"CNN": network}


def in_lung(context: Context, layer: str) -> Encoded:
    """Fisher vectors of the layer whose descriptors are weighted by the lung fraction of their receptive field."""
    return context.encoded(f"{layer}, Fisher vector, lung only", layer, region=LUNG)


def run(context: Context) -> Findings:
    shown = columns(context, context.base)
    vectors = [system for system in shown.values() if isinstance(system, Encoded)]
    flat = [
        context.encoded(f"{one.settings.layer}, activations", one.settings.layer, encoder="flat") for one in vectors
    ]
    dense = context.preset.dense_layer
    lung = [in_lung(context, layer) for layer in dict.fromkeys((dense, context.preset.layer))]
    simple = baselines(context)
    systems: list[System] = [context.base, *vectors, *lung, *flat]
    compared: list[System] = [context.base, *vectors, *lung]
    differences = against(context, compared, simple)
    tables = [
        of_systems(context, paper.table(5), shown, AUC_ROW, f"{NETWORK} {FC6}"),
        of_systems(context, paper.table(6), shown, F_ROW, f"{NETWORK} {OVERALL}"),
        differences,
        measured(
            context, "AUC with intervals, including baselines", [*systems, *simple], AUC, note=f"{LUNG_ONLY} {FLAT}"
        ),
        measured(context, "F with intervals, including baselines", [*systems, *simple], F, note=f"{LUNG_ONLY} {FLAT}"),
    ]
    whole = [fisher(context, one.settings.layer) for one in lung]
    together: list[tuple[System, System]] = [
        *zip(vectors, flat, strict=True),
        *((one, context.base) for one in vectors),
        *zip(lung, whole, strict=True),
        *pairs(context, compared, simple),
    ]
    return Findings(tables, [*systems, *simple], together)


EXPERIMENT = Experiment("layers", "Fisher vectors of each layer", "Tables 5 and 6", run)
