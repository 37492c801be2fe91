"""Tests the paper's statement that results depend little on the number of Gaussians and on the PCA dimension."""

from __future__ import annotations

from ildfv.experiments.context import Context
from ildfv.experiments.experiment import Experiment, Findings
from ildfv.experiments.recipes import Encoded
from ildfv.experiments.results import documents
from ildfv.experiments.tables import AUC, MEANS, cell, measured
from ildfv.report.chart import Chart


def systems(context: Context) -> tuple[dict[int, Encoded], dict[int, Encoded]]:
    """(systems by number of components, systems by dimension after PCA). All other settings are the preset's."""
    layer, p = context.preset.layer, context.preset
    components = {k: context.encoded(f"k = {k}", layer, components=k) for k in p.sweep_components}
    dimensions = {d: context.encoded(f"PCA {d}", layer, dimensions=d) for d in p.sweep_dimensions}
    return components, dimensions


def run(context: Context) -> Findings:
    p, layer = context.preset, context.preset.layer
    components, dimensions = systems(context)
    span = min(len(context.split(fold).fit) for fold in context.held_out())
    limit = f" PCA has at most as many dimensions as there are fit slices ({span})." if span < max(dimensions) else ""
    shown = {
        f"Number of components k of {layer}, PCA to {p.dimensions}": (components, "components", ""),
        f"Dimensions after PCA of {layer}, k = {p.components}": (dimensions, "dimensions after PCA", limit),
    }
    tables, charts, compared = [], [], []
    for title, (by_size, label, note) in shown.items():
        found = {size: documents(context, system) for size, system in by_size.items()}
        tables.append(measured(context, title, list(by_size.values()), MEANS | AUC, note=note))
        series = {
            name: [cell(found[size], key) for size in by_size]
            for name, key in (("mean AUC", "mean_auc"), ("overall F", "f"))
        }
        charts.append(Chart(title=title, x_label=label, y_label="measure", x=list(by_size), series=series))
        first, *others = by_size.values()
        compared += [(other, first) for other in others]
    systems_of_both = [*components.values(), *dimensions.values()]
    return Findings(tables, systems_of_both, compared, charts=charts)


EXPERIMENT = Experiment("sweep", "Number of components and dimension after PCA", "Section 4.5", run)
