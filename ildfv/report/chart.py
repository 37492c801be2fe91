"""Charts of measures, with intervals, as functions of a number. A chart is stored in a document and drawn as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from ildfv.evaluation.documents import Document
from ildfv.evaluation.tables import Estimate
from ildfv.report.figures import UNDEFINED, with_interval

LEFT, TOP, WIDTH, HEIGHT = 50, 20, 320, 200


class Chart(Document):
    """Series of estimates of measures in [0, 1] at increasing x > 0, drawn on a logarithmic x axis.

    series: by name, one estimate for each x. note: a sentence that is shown below the chart.
    """

    title: str
    x_label: str
    y_label: str
    x: list[float]
    series: dict[str, list[Estimate]]
    note: str = ""


def draw(chart: Chart, *, mark: str = "") -> Markup:
    """The chart as SVG: one line per series, through its estimates with their 95 % intervals.

    mark: text that is printed in the chart, such as the kind of data.
    """
    low, high = _range(chart)
    bottom, right = TOP + HEIGHT, LEFT + WIDTH
    span = math.log(chart.x[-1] / chart.x[0]) or 1.0

    def at_x(value: float) -> float:
        return LEFT + 16 + (WIDTH - 32) * math.log(value / chart.x[0]) / span

    def at_y(value: float) -> float:
        return bottom - HEIGHT * (value - low) / (high - low)

    ticks = [low + i * (high - low) / 4 for i in range(5)]
    grid = "".join(
        f'<path class="grid" d="M{LEFT} {at_y(t):.1f}H{right}"/>'
        f'<text class="tick" x="{LEFT - 6}" y="{at_y(t) + 4:.1f}" text-anchor="end">{t:.3g}</text>'
        for t in ticks
    )
    grid += "".join(
        f'<path class="grid" d="M{at_x(v):.1f} {TOP}V{bottom}"/>'
        f'<text class="tick" x="{at_x(v):.1f}" y="{bottom + 14}" text-anchor="middle">{v:g}</text>'
        for v in chart.x
    )
    drawn, texts = [], []
    for slot, (name, estimates) in enumerate(chart.series.items()):
        shift = 4 * (slot - (len(chart.series) - 1) / 2)  # so that intervals at the same x do not overlap
        points = [
            (x, at_x(x) + shift, estimate.value, estimate.interval)
            for x, estimate in zip(chart.x, estimates, strict=True)
            if estimate.value is not None
        ]
        texts += [f"{name}, {x:g}: {with_interval(value, interval)}" for x, _, value, interval in points]
        line = "L".join(f"{x:.1f} {at_y(value):.1f}" for _, x, value, _ in points)
        whiskers = "".join(
            f'<path class="whisker" d="M{x:.1f} {at_y(interval[0]):.1f}V{at_y(interval[1]):.1f}"/>'
            for _, x, _, interval in points
            if interval is not None
        )
        dots = "".join(
            f'<circle cx="{x:.1f}" cy="{at_y(value):.1f}" r="4"><title>{escape(f"{name}, {n:g}: ")}'
            f"{with_interval(value, interval)}</title></circle>"
            for n, x, value, interval in points
        )
        path = f'<path class="line" d="M{line}"/>' if line else ""
        drawn.append(f'<g class="s s{slot} d{slot}">{path}{whiskers}{dots}</g>')
    name = escape(f"{chart.title}. " + ("; ".join(texts) or UNDEFINED))
    return Markup(
        f'<svg class="chart" viewBox="0 0 {right + 8} {bottom + 34}" role="img" aria-label="{name}">{grid}'
        f"{''.join(drawn)}"
        f'<text class="mark" x="{right}" y="{TOP - 7}" text-anchor="end">{escape(mark)}</text>'
        f'<text class="axis" x="{LEFT + WIDTH / 2}" y="{bottom + 30}" text-anchor="middle">{escape(chart.x_label)}'
        f"</text>"
        f'<text class="axis" transform="translate(11 {TOP + HEIGHT / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(chart.y_label)}</text></svg>"
    )


def _range(chart: Chart) -> tuple[float, float]:
    """(low, 1.0), the limits of the y axis. low: the largest of 0, 0.2, … 0.8 that exceeds no value or interval."""
    values: Sequence[float] = [
        v
        for estimates in chart.series.values()
        for estimate in estimates
        for v in (estimate.value, *(estimate.interval or ()))
        if v is not None
    ]
    least = min(values, default=0.0)
    return max(0.0, min(0.8, math.floor(5 * least) / 5)), 1.0
