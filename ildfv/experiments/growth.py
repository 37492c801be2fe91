"""CNN and Fisher vectors on growing numbers of patients, to test whether Fisher vectors stay better with more data.

In the paper, Fisher vectors of conv1 are better than the CNN on 18k slices and worse on 240k slices, where they use a
random third of all descriptors. In this experiment both systems are fitted on growing numbers of patients, with all
descriptors, and tested on the same slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ildfv.counted import counted
from ildfv.evaluation.tables import Estimate
from ildfv.experiments.context import Context
from ildfv.experiments.experiment import Experiment, Findings
from ildfv.experiments.layers import fisher
from ildfv.experiments.recipes import System
from ildfv.experiments.results import documents
from ildfv.experiments.tables import AUC, MEANS, cell, measured
from ildfv.report.chart import Chart

CNN = "CNN"


def sizes(context: Context) -> list[int | None]:
    """The numbers of fit patients: all numbers of the preset below the available number, and None for all patients.

    None is omitted if all fit patients are less than 10 % more than the largest of these numbers.
    """
    limit = context.fit_patients()
    smaller = [n for n in context.preset.growth if n < limit]
    is_close = bool(smaller) and 10 * limit < 11 * smaller[-1]
    return [*smaller] if is_close else [*smaller, None]


def systems(context: Context, n: int | None) -> dict[str, System]:
    """By name, the CNN and Fisher vectors of its layers, fitted on n patients (None: all)."""
    suffix = f", {counted(context.fit_patients() if n is None else n, 'patient')}"
    network = context.regression(f"{CNN}{suffix}", patients=n, keep_weights=True)
    layers = dict.fromkeys((context.preset.dense_layer, context.preset.layer))
    return {CNN: network} | {f"{layer}, Fisher vector": fisher(context, layer, network, suffix) for layer in layers}


def crossing(x: Sequence[int], vectors: Sequence[Estimate], network: Sequence[Estimate]) -> str:
    """A sentence on which of the two systems has the larger values, and between which sizes this changes."""
    pairs = [
        (n, a.value - b.value)
        for n, a, b in zip(x, vectors, network, strict=True)
        if a.value is not None and b.value is not None
    ]
    if not pairs:
        return "the difference is undefined at all sizes"
    signs = [(n, difference > 0) for n, difference in pairs]
    changes = [
        f"the {'Fisher vector' if now else 'CNN'} becomes better between {before} and {after} patients"
        for (before, was), (after, now) in pairwise(signs)
        if was != now
    ]
    if changes:
        return "the curves cross: " + ", ".join(changes)
    return f"no crossing: the {'Fisher vector' if signs[0][1] else 'CNN'} has the larger value at all sizes"


def run(context: Context) -> Findings:
    all_sizes = sizes(context)
    found = {n: systems(context, n) for n in all_sizes}
    x = [context.fit_patients() if n is None else n for n in all_sizes]
    listed = [system for by_name in found.values() for system in by_name.values()]
    measures = {"mean AUC": "mean_auc", "overall F": "f"}
    charts, notes = [], []
    for label, key in measures.items():
        series = {
            name: [cell(documents(context, found[n][name]), key) for n in all_sizes] for name in found[all_sizes[-1]]
        }
        for name in list(series)[1:]:
            notes.append(
                f"{label}, {name} of all descriptors compared with the CNN: {crossing(x, series[name], series[CNN])}."
            )
        title = f"{label} by number of fit patients ({context.slices.data} data)"
        charts.append(Chart(title=title, x_label="fit patients", y_label=label, x=list(map(float, x)), series=series))
    note = (
        "Fit patients are drawn at random; smaller sets are subsets of larger sets. Test slices and the validation "
        "patients, on which thresholds and the ridge penalty are chosen, are the same for all sizes. Mixtures are "
        "fitted on all descriptors of the fit slices."
    )
    tables = [measured(context, "CNN and Fisher vectors by number of fit patients", listed, MEANS | AUC, note=note)]
    pairs = [(by_name[name], by_name[CNN]) for by_name in found.values() for name in list(by_name)[1:]]
    return Findings(tables, listed, pairs, notes, charts=charts)


EXPERIMENT = Experiment(
    "growth", "The main claim: CNN and Fisher vectors on growing numbers of patients", "Section 4.5", run
)
