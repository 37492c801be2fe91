"""Charts as inline SVG. The page's style sheet sets colours and fonts for light mode, dark mode and print.

The classes `s<slot>` and `d<slot>` give a system the same colour and dash pattern in every chart. `mark` is printed
inside each chart, so that a chart copied from the page still shows which kind of data it is from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

from ildfv.evaluation.documents import Interval, PatternResults

UNDEFINED = "–"
SLOTS = 8  # number of colours and dash patterns in style.css


@dataclass(frozen=True)
class Series:
    """One system in a chart of one pattern. slot: number of its colour and dash pattern. row: its results."""

    slot: int
    name: str
    row: PatternResults


@dataclass(frozen=True)
class Point:
    """The value and interval of one system in a forest plot. slot: number of its colour."""

    slot: int
    name: str
    value: float | None
    interval: Interval | None


@dataclass(frozen=True)
class _CurveKind:
    """A kind of curve. curve, area: names of fields of `PatternResults`. x, y: names of fields of the curve."""

    title: str
    curve: str
    x: str
    y: str
    area: str
    label: str
    axes: tuple[str, str]


ROC = _CurveKind("ROC curves", "roc", "fpr", "tpr", "auc", "AUC", ("False-positive rate", "Sensitivity"))
PRECISION_RECALL = _CurveKind(
    "Precision–recall curves", "pr", "recall", "precision", "ap", "AP", ("Recall", "Precision")
)


def roc(pattern: str, series: Sequence[Series], *, mark: str = "") -> Markup:
    """A chart of the ROC curve of each system, with a ring at the system's decision threshold."""
    return _curves(ROC, pattern, series, "M0 1L1 0", mark)


def pr(pattern: str, series: Sequence[Series], *, mark: str = "") -> Markup:
    """A chart of the precision–recall curve of each system, as a step function.

    A dashed line shows the precision of a system that predicts the pattern on every slice. The line is omitted if the
    prevalence is unknown or differs between the series.
    """
    chance = {s.row.prevalence for s in series if s.row.prevalence is not None}
    base = f"M0 {1 - min(chance):.4f}L1 {1 - min(chance):.4f}" if len(chance) == 1 else "M0 0"
    return _curves(PRECISION_RECALL, pattern, series, base, mark)


def calibration(pattern: str, series: Sequence[Series], *, mark: str = "", unit: str = "slice") -> Markup:
    """A chart of the observed frequency against the mean predicted probability in ten bins, for each system.

    Points with more slices are larger. unit: "slice", or "scan" for results of scans.
    """
    frame = _Frame()
    drawn, texts = [], []
    for s in series:
        curve = s.row.calibration
        texts.append(f"{s.name}: Brier {number(s.row.brier)}")
        if curve is None:
            continue
        largest = max(curve.n)
        points = list(zip(curve.predicted, curve.observed, strict=True))
        line = _line([frame.at(*point) for point in points])
        dots = "".join(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{1.5 + 4 * (n / largest) ** 0.5:.1f}"><title>{n} {unit}'
            f"{'s' * (n != 1)}: predicted {number(p)}, observed {number(o)}</title></circle>"
            for (p, o), n in zip(points, curve.n, strict=True)
            for x, y in [frame.at(p, o)]
        )
        drawn.append(f'<g class="{_slot(s)}"><path class="line dim" d="{line}"/><g class="dots">{dots}</g></g>')
    return frame.svg(
        f"Calibration for {pattern}", texts, ("Predicted probability", "Observed frequency"), "M0 1L1 0", drawn, mark
    )


def function(
    x: Iterable[float], y: Iterable[float], title: str, axes: tuple[str, str], x_end: float, y_end: float
) -> Markup:
    """A chart of a function of one variable. x, y: in [0, 1], as fractions of the axis ends `x_end` and `y_end`."""
    frame = _Frame()
    line = _line([frame.at(*point) for point in zip(x, y, strict=True)])
    drawn = f'<g class="s s0"><path class="line" d="{line}"/></g>'
    return frame.svg(title, [], axes, "M0 0", [drawn], "", ends=(x_end, y_end))


def forest(label: str, groups: Sequence[tuple[str, Sequence[Point]]], *, mark: str = "") -> Markup:
    """A forest plot: one row per system, with its value and 95 % interval, grouped by pattern.

    groups: (name of a pattern or "mean", points). label: name of the measure.
    """
    found = [v for _, points in groups for point in points for v in (point.value, *(point.interval or ()))]
    low = min([v for v in found if v is not None], default=0.0)
    # From each of these values, four equal steps up to 1 give round tick labels.
    start = max(s for s in (0.0, 0.2, 0.6, 0.8) if s <= max(low, 0.0))
    left, right, step, gap = 92, 372, 17, 16

    def x(value: float) -> float:
        return left + (value - start) / (1 - start) * (right - left)

    y, rows, texts = 26.0, [], []
    for group, points in groups:
        top = y
        for s in points:
            value, interval = s.value, s.interval
            texts.append(f"{group}, {s.name}: {with_interval(value, interval)}")
            row = f'<text class="value" x="{right + 46}" y="{y + 4:.1f}" text-anchor="end">{number(value)}</text>'
            if value is not None:
                if interval is not None:
                    row += f'<path class="whisker" d="M{x(interval[0]):.1f} {y:.1f}H{x(interval[1]):.1f}"/>'
                row += f'<circle cx="{x(value):.1f}" cy="{y:.1f}" r="4"/>'
            tip = escape(f"{s.name}: {with_interval(value, interval)}")
            rows.append(f'<g class="{_slot(s)}"><title>{tip}</title>{row}</g>')
            y += step
        middle = (top + y - step) / 2 + 4
        rows.append(f'<text class="group" x="{left - 10}" y="{middle:.1f}" text-anchor="end">{escape(group)}</text>')
        rows.append(f'<path class="rule" d="M0 {y - step / 2 + gap / 2:.1f}H{right + 46}"/>')
        y += gap
    bottom = y - gap - step / 2 + 6
    rows.pop()  # no rule below the last group
    ticks = [start + i * (1 - start) / 4 for i in range(5)]
    axis = "".join(
        f'<path class="grid" d="M{x(t):.1f} 12V{bottom:.1f}"/>'
        f'<text class="tick" x="{x(t):.1f}" y="{bottom + 15:.1f}" text-anchor="middle">{t:.3g}</text>'
        for t in ticks
    )
    name = escape(f"{label} with 95 % intervals. " + "; ".join(texts))
    return Markup(
        f'<svg class="chart forest" viewBox="0 0 420 {bottom + 22:.0f}" role="img" aria-label="{name}">'
        f"{axis}{''.join(rows)}"
        f'<text class="mark" x="0" y="{bottom + 15:.1f}">{escape(mark)}</text></svg>'
    )


def number(value: float | None, digits: int = 3) -> str:
    """A number as text with the given number of decimals; "–" for None."""
    if value is None:
        return UNDEFINED
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")  # + 0.0 turns −0.0 into 0.0


def with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    """Text such as 0.912 (0.884–0.931), or 0.912 if there is no interval."""
    if value is None or interval is None:
        return number(value)
    return f"{number(value)} ({number(interval[0])}–{number(interval[1])})"


class _Frame:
    """The axes of a square chart of [0, 1] × [0, 1]."""

    LEFT, TOP, SIZE = 50, 20, 200

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The position of a point of the chart, in SVG units."""
        return self.LEFT + x * self.SIZE, self.TOP + (1 - y) * self.SIZE

    def svg(
        self,
        title: str,
        texts: Sequence[str],
        axes: tuple[str, str],
        base: str,
        drawn: Sequence[str],
        mark: str,
        ends: tuple[float, float] = (1, 1),
    ) -> Markup:
        """The chart as SVG.

        texts: sentences of the accessible description. base: path of the reference line in the unit square, with y
        downwards. ends: values at the ends of the axes.
        """
        left, top, size = self.LEFT, self.TOP, self.SIZE
        bottom, middle = top + size, left + size / 2
        grid = "".join(
            f'<path class="grid" d="M{left + t * size} {top}V{bottom}M{left} {bottom - t * size}H{left + size}"/>'
            f'<text class="tick" x="{left + t * size}" y="{bottom + 14}" text-anchor="middle">{t * ends[0]:g}</text>'
            f'<text class="tick" x="{left - 6}" y="{bottom - t * size + 4}" text-anchor="end">{t * ends[1]:g}</text>'
            for t in (0, 0.25, 0.5, 0.75, 1)
        )
        return Markup(
            f'<svg class="chart" viewBox="0 0 {left + size + 8} {bottom + 34}" role="img" '
            f'aria-label="{escape(title + ". " + "; ".join(texts))}">{grid}'
            f'<g transform="translate({left} {top}) scale({size})"><path class="chance" d="{base}"/></g>'
            f"{''.join(drawn)}"
            f'<text class="mark" x="{left + size}" y="{top - 7}" text-anchor="end">{escape(mark)}</text>'
            f'<text class="axis" x="{middle}" y="{bottom + 30}" text-anchor="middle">{axes[0]}</text>'
            f'<text class="axis" transform="translate(11 {top + size / 2}) rotate(-90)" text-anchor="middle">{axes[1]}'
            f"</text></svg>"
        )


def _curves(kind: _CurveKind, pattern: str, series: Sequence[Series], base: str, mark: str) -> Markup:
    """A chart of a curve of each system. base: path of the reference line, as in `_Frame.svg`."""
    frame, drawn, texts = _Frame(), [], []
    for s in series:
        tip = f"{s.name}: {kind.label} {number(getattr(s.row, kind.area))}"
        texts.append(tip)
        points = getattr(s.row, kind.curve)
        if points is None:
            continue
        at = [frame.at(a, b) for a, b in zip(getattr(points, kind.x), getattr(points, kind.y), strict=True)]
        at = _steps(at) if kind.curve == "pr" else at
        used = _operating_point(s.row, kind.curve)
        ring = '<circle class="used" cx="{:.1f}" cy="{:.1f}" r="4"/>'.format(*frame.at(*used)) if used else ""
        drawn.append(
            f'<g class="{_slot(s)}"><title>{escape(tip)}</title><path class="line" d="{_line(at)}"/>{ring}</g>'
        )
    return frame.svg(f"{kind.title} for {pattern}", texts, kind.axes, base, drawn, mark)


def _operating_point(row: PatternResults, curve: str) -> tuple[float, float] | None:
    """The point (x, y) at the decision threshold; None if a coordinate is undefined."""
    if curve == "pr":
        x, y = row.recall, row.precision
    else:
        fp, negatives = row.fp or 0, (row.fp or 0) + (row.tn or 0)
        x, y = fp / negatives if negatives else None, row.recall
    return None if x is None or y is None else (x, y)


def _steps(at: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The corners of the step function through the points: each y applies from the previous x to its own x."""
    stairs = [at[0]]
    for (x, _), (x_next, y_next) in pairwise(at):
        stairs += [(x, y_next), (x_next, y_next)]
    return stairs


def _line(at: Sequence[tuple[float, float]]) -> str:
    """An SVG path through the points. Points on a straight line between their neighbours are omitted."""
    at = [(round(x, 1), round(y, 1)) for x, y in at]
    kept: list[tuple[float, float]] = []
    for point in at:
        if kept and point == kept[-1]:
            continue
        while len(kept) > 1 and _straight(kept[-2], kept[-1], point):
            kept.pop()
        kept.append(point)
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in kept)


def _straight(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    cross = (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0])
    forward = (b[0] - a[0]) * (c[0] - b[0]) + (b[1] - a[1]) * (c[1] - b[1]) > 0
    return abs(cross) < 1e-6 and forward


def _slot(series: Series | Point) -> str:
    return f"s s{series.slot} d{series.slot}"
