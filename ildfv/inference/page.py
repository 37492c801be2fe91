"""A prediction as one HTML page without external files: results, score profiles, and slices with contribution maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from scipy import ndimage

from ildfv.errors import printable_page
from ildfv.inference.conformal import EITHER, SETS
from ildfv.inference.markup import page_environment
from ildfv.inference.png import png_uri
from ildfv.inference.score_lines import score_line
from ildfv.inference.sentences import answered, no_area, no_probability, present_means
from ildfv.scans.windows import NORMAL

if TYPE_CHECKING:
    from ildfv.inference.prediction import HeadAnswer, Prediction

FOR, AGAINST = (230, 97, 1), (44, 123, 182)  # orange and blue, distinguishable with colour vision deficiency
OPACITY = 0.75
CLIP = 99.5  # percentile of absolute contributions; larger ones are drawn in full colour
SMOOTHING = 2.0  # pixels, standard deviation
PLAIN = {EITHER: "cannot be decided"}  # words for conformal sets on pages
COLUMNS = [PLAIN.get(words, words) for words in SETS]


def prediction_page(prediction: Prediction, *, standalone: bool = True) -> str:
    """The HTML of the prediction. standalone: a whole document; otherwise a fragment for a notebook."""
    primary, *others = [_head(prediction, answer) for answer in prediction.heads.values()]
    page = (
        page_environment()
        .get_template("prediction.html")
        .render(
            standalone=standalone,
            p=prediction,
            primary=primary,
            others=others,
            set_names=COLUMNS,
            ends=[_position(prediction.positions[0]), _position(prediction.positions[-1])],
            examples=_examples(prediction, prediction.contributions, prediction.contributions_head),
            cnn_maps=[]
            if prediction.cnn_maps is None
            else _examples(prediction, prediction.cnn_maps, prediction.cnn_maps_head),
            phantom=prediction.predictor.get("data") == "phantom",
        )
    )
    return printable_page(page)


def _head(prediction: Prediction, answer: HeadAnswer) -> dict:
    """The results of a head as text, by variable of the template."""
    patterns = range(len(prediction.patterns))
    return {
        "name": answer.name,
        "performance": answer.performance,
        "has_auc": any(answer.auc),
        "level": None if answer.sets_level is None else _percent(answer.sets_level),
        "no_sets": answer.no_sets,
        "pooling": answer.pooling,
        "no_probability": no_probability(_labelled(prediction, answer, answer.no_probability)),
        "no_area": no_area(_labelled(prediction, answer, answer.no_area)) if prediction.has_size else [],
        "present_means": "" if answer.pooling else present_means(answer.extent, prediction.extent_cm2(answer)),
        "rows": [_row(prediction, answer, c) for c in patterns],
        "sets": [{"pattern": prediction.patterns[c], "numbers": _sets(answer, c)} for c in patterns],
        "profiles": [
            {
                "pattern": prediction.patterns[c],
                "svg": Markup(score_line(answer.scores[:, c], answer.thresholds[c], answer.presence[:, c])),
            }
            for c in patterns
            if answer.labelled[c] and len(answer.scores) > 1
        ],
    }


def _labelled(prediction: Prediction, answer: HeadAnswer, values: list[str | None]) -> dict[str, str | None]:
    """The values of the patterns with labels in the training data, by pattern."""
    return {prediction.patterns[c]: value for c, value in enumerate(values) if answer.labelled[c]}


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
        "probability": _percent(answer.highest_probability(c)),
        "area": _area(answer, c),
        "first": ", ".join(str(z + 1) for z in first) if answer.labelled[c] else "–",
        "where": _where(answer, c),
        "auc": _auc(answer, c),
    }


def _auc(answer: HeadAnswer, c: int) -> str:
    """The AUC of a pattern on held-out patients with its interval, such as "0.90 (0.73–0.97)"; "–" if unknown."""
    value, interval = answer.expected_auc(c)
    if value is None:
        return "–"
    return f"{value:.2f}" + (f" ({interval[0]:.2f}–{interval[1]:.2f})" if interval else "")


def _sets(answer: HeadAnswer, c: int) -> list[str]:
    """Number of slices with each conformal set, in the order of `COLUMNS`; "–" without sets."""
    found = answer.slices_by_set(c)
    if found is None or not answer.labelled[c]:
        return ["–"] * len(SETS)
    return [str(found[words]) for words in SETS]


def _where(answer: HeadAnswer, c: int) -> str:
    """The third and sides with the largest shares, such as "upper 70 %, left 55 %, dorsal 80 %"; "–" if unknown."""
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
    answer = prediction.heads[head or prediction.head.name]
    found = {
        "pattern": prediction.patterns[c],
        "slice": z + 1,
        "position": _position(prediction.positions[z]),
        "answer": "present" if answer.presence[z, c] else "not present",
    }
    found["image"] = png_uri(image)
    if maps is not None:
        maps = maps[:, c]
        found["evidence"] = png_uri(overlay(image, maps[z], evidence_scale(maps)))
    return found


def _position(mm: float) -> str:
    return f"{round(mm)}\N{NO-BREAK SPACE}mm".replace("-", "−")


def _percent(value: float) -> str:
    return "–" if not np.isfinite(value) else f"{100 * value:.0f}\N{NO-BREAK SPACE}%"


def _area(answer: HeadAnswer, c: int) -> str:
    area = answer.on_present_slices(answer.area, c)
    return f"{area:.0f} cm²" if np.isfinite(area) else "–"
