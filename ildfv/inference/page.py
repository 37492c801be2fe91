"""A prediction as one HTML page without external files: results, score profiles, and slices with contribution maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from scipy import ndimage

from ildfv.errors import printable_page
from ildfv.inference.conformal import EITHER
from ildfv.inference.markup import page_environment
from ildfv.inference.png import png_uri
from ildfv.inference.sentences import answered
from ildfv.scans.windows import NORMAL

if TYPE_CHECKING:
    from ildfv.inference.prediction import HeadAnswer, Prediction

FOR, AGAINST = (230, 97, 1), (44, 123, 182)  # orange and blue, distinguishable with colour vision deficiency
OPACITY = 0.75
CLIP = 99.5  # percentile of the absolute contributions from which they are drawn in full colour
SMOOTHING = 2.0  # pixels, standard deviation
PLAIN = {EITHER: "cannot be decided"}  # words for conformal sets on pages
WIDTH, HEIGHT = 640, 56  # size of a profile, in SVG units


def prediction_page(prediction: Prediction, *, standalone: bool = True) -> str:
    """The HTML of the prediction. standalone: a whole document; otherwise a fragment for a notebook."""
    heads = [
        {
            "name": answer.name,
            "performance": answer.performance,
            "level": None if answer.sets_level is None else _percent(answer.sets_level),
            "no_sets": answer.no_sets,
            "pooling": answer.pooling,
            "rows": [_row(prediction, answer, c) for c in range(len(prediction.patterns))],
            "profiles": [
                {"pattern": pattern, "svg": Markup(_profile(answer, c))}
                for c, pattern in enumerate(prediction.patterns)
                if answer.labelled[c]
            ],
        }
        for answer in prediction.heads.values()
    ]
    page = (
        page_environment()
        .get_template("prediction.html")
        .render(
            standalone=standalone,
            p=prediction,
            heads=heads,
            examples=_examples(prediction, prediction.contributions, prediction.contributions_head),
            cnn_maps=[]
            if prediction.cnn_maps is None
            else _examples(prediction, prediction.cnn_maps, prediction.cnn_maps_head),
            phantom=prediction.predictor.get("data") == "phantom",
        )
    )
    return printable_page(page)


def _row(prediction: Prediction, answer: HeadAnswer, c: int) -> dict:
    """The results of a head for one pattern, as text by column."""
    first = answer.first[c] if answer.first else [int(answer.best[c])]
    scan = answer.scan_probability[c] if len(answer.scan_probability) else np.nan
    return {
        "pattern": prediction.patterns[c],
        "present": answer.present[c],
        "answer": answered(answer.present[c]),
        "slices": int(answer.presence[:, c].sum()) if answer.labelled[c] else "–",
        "scan": _percent(scan),
        "probability": _percent(answer.probability[:, c].max()),
        "area": _area(answer, c),
        "first": ", ".join(str(z + 1) for z in first) if answer.labelled[c] else "–",
        "where": _where(answer, c),
        "sets": _sets(answer, c),
    }


def _sets(answer: HeadAnswer, c: int) -> str:
    """Number of slices by conformal set, such as "present 3, absent 40, cannot be decided 17"; "–" without sets."""
    found = answer.slices_by_set(c)
    if found is None or not answer.labelled[c]:
        return "–"
    return ", ".join(f"{PLAIN.get(words, words)} {number}" for words, number in found.items() if number)


def _where(answer: HeadAnswer, c: int) -> str:
    """The parts of the lung with the larger shares, such as "upper 70 %, left 55 %, dorsal 80 %"; "–" if unknown."""
    zones, shares = (found[c] if found else None for found in (answer.zones, answer.shares))
    parts = [] if zones is None else [max(zones, key=lambda name: zones[name])]
    if shares is not None:
        parts += [max(pair, key=lambda name: shares[name]) for pair in (("left", "right"), ("ventral", "dorsal"))]
    values = {**(zones or {}), **(shares or {})}
    return ", ".join(f"{name} {_percent(values[name])}" for name in parts) or "–"


def overlay(image: np.ndarray, contribution: np.ndarray, scale: float) -> np.ndarray:
    """The slice with its contributions in colour, uint8 (h, w, 3): orange for the pattern, blue against it.

    image: uint8 (h, w). contribution: (h, w). scale: the absolute contribution that is drawn in full colour. The
    contributions are smoothed, because neighbouring pixels are in different numbers of receptive fields.
    """
    contribution = ndimage.gaussian_filter(contribution, SMOOTHING)
    grey = np.repeat(image[..., None].astype(np.float64), 3, axis=2)
    strength = np.clip(np.abs(contribution) / scale, 0, 1)[..., None] if scale > 0 else np.zeros((*image.shape, 1))
    colour = np.where((contribution > 0)[..., None], np.array(FOR), np.array(AGAINST))
    return np.round(grey * (1 - OPACITY * strength) + colour * OPACITY * strength).astype(np.uint8)


def evidence_scale(contributions: np.ndarray) -> float:
    """The absolute contribution that is drawn in full colour on the maps (m, h, w) of a pattern."""
    return float(np.percentile(np.abs(contributions), CLIP))


def _examples(prediction: Prediction, maps: np.ndarray | None, head: str | None) -> list[dict]:
    labelled = prediction.heads[head or prediction.head.name].labelled
    return [_example(prediction, c, maps, head) for c, known in enumerate(labelled) if known]


def _example(prediction: Prediction, c: int, maps: np.ndarray | None, head: str | None) -> dict:
    """The slice with a head's highest score of a pattern and, if there are maps (m, C, h, w), its map."""
    z = int(prediction.heads[head or prediction.head.name].best[c])
    image = prediction.images[z, NORMAL]
    found = {"pattern": prediction.patterns[c], "slice": z + 1, "position": f"{round(prediction.positions[z])} mm"}
    found["image"] = png_uri(image)
    if maps is not None:
        maps = maps[:, c]
        found["evidence"] = png_uri(overlay(image, maps[z], evidence_scale(maps)))
    return found


def _profile(answer: HeadAnswer, c: int) -> str:
    """A pattern's scores from the first to the last slice as an SVG line. A dashed line shows the threshold."""
    scores, threshold = answer.scores[:, c], answer.thresholds[c]
    values = [*scores, *([] if threshold is None else [threshold])]
    low, high = min(values), max(values)
    span = high - low or 1.0

    def y(value: float) -> float:
        return round(HEIGHT - 4 - (HEIGHT - 8) * (value - low) / span, 2)

    step = WIDTH / max(1, len(scores) - 1)
    points = " ".join(f"{i * step:.1f},{y(value)}" for i, value in enumerate(scores))
    line = "" if threshold is None else f'<line class="t" x1="0" x2="{WIDTH}" y1="{y(threshold)}" y2="{y(threshold)}"/>'
    label = f"scores of {len(scores)} slices from {low:.3g} to {high:.3g}" + (
        "" if threshold is None else f", threshold {threshold:.3g}"
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}" preserveAspectRatio="none">'
        f'<title>{label}</title>{line}<polyline points="{points}"/></svg>'
    )


def lines(profiles: Sequence[Sequence[float]], what: str) -> str:
    """Profiles as SVG lines on a common scale from 0, with the classes l0, l1, … what: a name for screen readers."""
    highest = max((value for profile in profiles for value in profile), default=0.0) or 1.0
    drawn = []
    for number, profile in enumerate(profiles):
        step = WIDTH / max(1, len(profile) - 1)
        points = " ".join(
            f"{i * step:.1f},{HEIGHT - 4 - (HEIGHT - 8) * value / highest:.2f}" for i, value in enumerate(profile)
        )
        drawn.append(f'<polyline class="l{number}" points="{points}"/>')
    label = f"{what}, from 0 to {highest:.3g}"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}" preserveAspectRatio="none">'
        f"<title>{label}</title>{''.join(drawn)}</svg>"
    )


def _percent(value: float) -> str:
    return "–" if not np.isfinite(value) else f"{100 * value:.0f} %"


def _area(answer: HeadAnswer, c: int) -> str:
    area = answer.area[answer.presence[:, c], c]
    return "–" if not len(area) or not np.isfinite(area).all() else f"{area.sum():.0f} cm²"
