"""Scores and areas along a scan as SVG lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ildfv.counted import counted

WIDTH, HEIGHT, MARGIN = 640, 56, 4  # size of a picture and the space above and below its lines, in SVG units


def score_line(scores: np.ndarray, threshold: float | None, presence: np.ndarray) -> str:
    """The scores (m,) from the first to the last slice as an SVG.

    A dashed line (class t) shows the threshold, and bars (class p) at the lower edge show the slices with the pattern.
    presence: bool (m,).
    """
    values = [*scores, *([] if threshold is None else [threshold])]
    low, high = min(values), max(values)
    span = high - low or 1.0

    def y(value: float) -> float:
        return round(HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (value - low) / span, 2)

    step = WIDTH / max(1, len(scores) - 1)
    points = " ".join(f"{i * step:.1f},{y(value)}" for i, value in enumerate(scores))
    line = "" if threshold is None else f'<line class="t" x1="0" x2="{WIDTH}" y1="{y(threshold)}" y2="{y(threshold)}"/>'
    label = f"scores of {counted(len(scores), 'slice')} from {low:.3g} to {high:.3g}" + (
        "" if threshold is None else f", threshold {threshold:.3g}"
    )
    return _svg(label, f'{_bars(presence, step)}{line}<polyline points="{points}"/>')


def lines(profiles: Sequence[Sequence[float]], what: str) -> str:
    """Profiles as SVG lines on a common scale from 0, with the classes l0, l1, … what: a name for screen readers."""
    highest = max((value for profile in profiles for value in profile), default=0.0) or 1.0
    drawn = []
    for number, profile in enumerate(profiles):
        step = WIDTH / max(1, len(profile) - 1)
        points = " ".join(
            f"{i * step:.1f},{HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * value / highest:.2f}"
            for i, value in enumerate(profile)
        )
        drawn.append(f'<polyline class="l{number}" points="{points}"/>')
    return _svg(f"{what}, from 0 to {highest:.3g}", "".join(drawn))


def _bars(presence: np.ndarray, step: float) -> str:
    """Rectangles from half a slice before to half a slice after each run of slices with the pattern."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], presence.astype(int), [0]])))
    drawn = []
    for first, end in edges.reshape(-1, 2):
        left, right = max(0.0, (first - 0.5) * step), min(WIDTH, (end - 0.5) * step)
        drawn.append(f'<rect class="p" x="{left:.1f}" width="{right - left:.1f}" y="{HEIGHT - 3}" height="3"/>')
    return "".join(drawn)


def _svg(label: str, content: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}" preserveAspectRatio="none">'
        f"<title>{label}</title>{content}</svg>"
    )
