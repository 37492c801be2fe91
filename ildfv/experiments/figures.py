"""Figs. 1–5 of the paper for the page: patterns, windows, target mappings, architecture, and curves of each pattern."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from markupsafe import Markup, escape

from ildfv.evaluation.documents import Results
from ildfv.experiments.context import Context
from ildfv.experiments.paper import T6000, THRESHOLDS
from ildfv.patterns import PATTERNS, Threshold, presence
from ildfv.report import figures
from ildfv.report.content import Figure, Panel
from ildfv.report.figures import Series
from ildfv.report.pictures import slice_svg
from ildfv.scans.windows import NORMAL, WINDOWS
from ildfv.train.targets import targets

NAMES = ("low attenuation", "normal", "high attenuation")  # names of the three windows


def page_figures(context: Context, results: Sequence[Results]) -> list[Figure]:
    """Figs. 1 to 5. results: documents with curves from the experiment `curves`; if empty, Fig. 5 is omitted."""
    found = [patterns(context), windows(context), mappings(), architecture(context)]
    return [*found, curves(results, _mark(context))] if results else found


def patterns(context: Context) -> Figure:
    """Fig. 1: for each pattern, the slice with the most pixels of the pattern, and below it the label map."""
    slices = context.slices
    panels: list[Panel] = []
    chosen = {
        pattern: int(slices.counts[:, k].argmax())
        for k, pattern in enumerate(PATTERNS)
        if slices.counts[:, k].max() > 0
    }
    for labelled in (False, True):
        for pattern, index in chosen.items():
            image, labels = slices.images([index])[0, NORMAL], slices.label_maps([index])[0]
            svg = slice_svg(image, labels if labelled else None, label=f"CT slice with {pattern}")
            panels.append(Panel(f"{pattern}, label map" if labelled else pattern, svg))
    note = (
        "For each pattern, the slice with the most pixels of the pattern is shown in the normal window, without and "
        "with its label map. Lung without colour is healthy."
    )
    return Figure("Fig. 1. Patterns and label maps", panels=panels, columns=len(chosen), note=note, labelled=True)


def windows(context: Context) -> Figure:
    """Fig. 2: the three windows of the slice with the most patterns and, among these, the most labelled pixels."""
    counts = context.slices.counts
    present = (presence(counts, T6000) > 0).sum(axis=1)
    index = int(np.lexsort((counts.sum(axis=1), present))[-1])
    images = context.slices.images([index])[0]
    panels = [
        Panel(f"{name}: {low:g} … {high:g} HU".replace("-", "−"), slice_svg(image, None, label=f"{name} window"))
        for name, (low, high), image in zip(NAMES, WINDOWS, images, strict=True)
    ]
    note = "The three channels of the network's input. The slice is the one with the most patterns."
    return Figure("Fig. 2. The three attenuation windows", panels=panels, columns=3, note=note)


def mappings() -> Figure:
    """Fig. 3: the targets of the regressions as functions of the pixel count, for T = 6000."""
    counts = np.arange(0, 2 * T6000 + 1, T6000 // 60)
    shown = {
        "counts": (targets("counts", counts, threshold=1), "pixels", 2 * T6000),
        "step": (targets("step", counts), "label", 1),
        "ramp": (targets("ramp", counts), "label", 1),
    }
    panels = [
        Panel(name, figures.function(counts / counts[-1], y / top, name, ("pixel count", label), counts[-1], top))
        for name, (y, label, top) in shown.items()
    ]
    note = (
        f"T = {T6000}. The ramp increases from T1 = T/2 to T2 = 3T/2. These values are a choice of this package, "
        "because the paper does not state T1 and T2."
    )
    return Figure("Fig. 3. Target mappings", panels=panels, columns=3, note=note, of_data=False)


def architecture(context: Context) -> Figure:
    """Fig. 4: the network with the shapes of its layers, and the Fisher vector branch."""
    from ildfv.train.activations import Activations
    from ildfv.train.networks import build

    p, network = context.preset, build(context.preset.network)
    shapes = {layer: Activations(network, layer) for layer in p.layers}
    boxes = ["input|3 × 224 × 224"]
    boxes += [
        f"{layer}|{activations.d} × {round(activations.n**0.5)} × {round(activations.n**0.5)}"
        for layer, activations in shapes.items()
    ]
    boxes += ["output|4"]
    layer = p.layer if p.layer in shapes else p.layers[-1]
    activations = shapes[layer]
    branch = [
        f"descriptors|{activations.n} × {activations.d}",
        f"mixture|{p.components} Gaussians",
        f"Fisher vector|{2 * p.components * activations.d:,}".replace(",", "\u202f"),
        f"PCA|{p.dimensions}",
        "regression|4",
    ]
    note = (
        f"Above: the layers of {p.network} in this package, with channels × height × width of their activations. "
        f"Below: the Fisher vector branch of {layer}; it is the same for every layer. Initial weights are random, "
        "because the paper does not state the initial weights."
    )
    return Figure(
        "Fig. 4. Architecture", panels=[Panel("", _boxes(boxes, branch, layer))], columns=1, note=note, of_data=False
    )


def curves(results: Sequence[Results], mark: str) -> Figure:
    """Fig. 5: four panels per system, with ROC curves above and precision–recall curves below, at T = 6000 and 4000.

    For each system and T, the pooled document is used or, if only one fold was held out, the document of this fold.
    """
    by_system: dict[str, dict[Threshold, Results]] = {}
    for document in sorted(results, key=lambda result: result.fold is not None):
        at = by_system.setdefault(document.system.rpartition(", T = ")[0] or document.system, {})
        at.setdefault(document.threshold, document)
    variants = {}
    for system, at in by_system.items():
        rows = {
            threshold: [Series(k, p, at[threshold].per_pattern[p]) for k, p in enumerate(PATTERNS)]
            for threshold in THRESHOLDS
            if threshold in at
        }
        variants[system] = [
            Panel(f"({letter}) {title}, T = {threshold}", draw(f"T = {threshold}", rows[threshold], mark=mark))
            for letters, title, draw in (("ab", "ROC", figures.roc), ("cd", "precision and recall", figures.pr))
            for letter, threshold in zip(letters, rows, strict=False)
        ]
    note = (
        "One curve per pattern, averaged over the held-out folds. Rings mark the decision thresholds. The paper does "
        "not state which system its figure shows, so all systems can be selected here."
    )
    title = "Fig. 5. ROC and precision–recall curves"
    return Figure(title, variants=variants, columns=2, note=note, legend=PATTERNS)


def _boxes(boxes: Sequence[str], branch: Sequence[str], layer: str) -> Markup:
    """Two rows of boxes joined by arrows. An arrow leads from the box of `layer` to the first box of the second row."""
    width, height, gap = 92, 44, 16
    start = next(i for i, text in enumerate(boxes) if text.partition("|")[0] == layer)
    first = max(0, min(start, len(boxes) - len(branch)))
    drawn = [*_row(boxes, 0, 8, width, height, gap), *_row(branch, first * (width + gap), 110, width, height, gap)]
    x = start * (width + gap) + width / 2
    to = first * (width + gap) + width / 2
    drawn.append(f'<path class="arrow" d="M{x} {8 + height}V81H{to}V108"/>')
    total = max(len(boxes), first + len(branch)) * (width + gap) - gap
    name = escape("; ".join([*boxes, *branch]).replace("|", " "))
    return Markup(
        f'<svg class="chart wide" viewBox="0 0 {total} 162" role="img" aria-label="{name}">{"".join(drawn)}</svg>'
    )


def _row(texts: Iterable[str], left: float, y: float, width: float, height: float, gap: float) -> list[str]:
    found = []
    for i, text in enumerate(texts):
        x = left + i * (width + gap)
        if i:
            found.append(f'<path class="arrow" d="M{x - gap} {y + height / 2}H{x - 2}"/>')
        first, _, rest = text.partition("|")
        found.append(f'<rect class="box" x="{x}" y="{y}" width="{width}" height="{height}" rx="5"/>')
        for line, dy in ((first, 18), (rest, 34)):
            found.append(f'<text x="{x + width / 2}" y="{y + dy}" text-anchor="middle">{escape(line)}</text>')
    return found


def _mark(context: Context) -> str:
    return "phantom data" if context.slices.data == "phantom" else ""
