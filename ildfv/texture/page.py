"""The HTML page of an evaluation: accuracy, confusion matrix, misclassified images, contribution maps by class."""

from __future__ import annotations

import functools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from ildfv.counted import counted
from ildfv.errors import printable_page
from ildfv.inference.png import png_uri
from ildfv.store.outputs import write_output
from ildfv.texture.choices import KIND, MARKER
from ildfv.texture.contributions import contribution_maps
from ildfv.texture.evaluate import Evaluation
from ildfv.texture.images import Picture, read_image
from ildfv.version import __version__

SHOWN = 40  # maximum number of misclassified images on the page
SIDE = 160  # pixels of a thumbnail


def write_page(path: str | Path, evaluation: Evaluation, paths: dict[str, Path], title: str) -> None:
    """Write the page atomically. paths: name of an image in the evaluation → its file."""
    result = evaluation.to_dict()
    wrong = list({one["path"]: one for one in evaluation.misclassified}.values())
    text = (
        _environment()
        .get_template("texture.html")
        .render(
            title=title,
            result=result,
            settings=_settings(result),
            version=__version__,
            rows=_rows(evaluation.confusion),
            wrong=[{**one, "image": _thumbnail(read_image(paths[one["path"]]))} for one in wrong[:SHOWN]],
            n_wrong=len(wrong),
            maps=_maps(evaluation, paths),
        )
    )
    write_output(Path(path), printable_page(text).encode(), MARKER, KIND)


def _settings(result: dict) -> dict[str, str]:
    """The settings as text, and the number of splits in which each kind of classifier was used."""
    heads = [f"{kind} in {counted(number, 'split')}" for kind, number in Counter(result["heads"]).most_common()]
    return {name: _text(value) for name, value in result["settings"].items()} | {"classifier": ", ".join(heads)}


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name} {_text(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


@functools.cache  # the environment keeps the compiled template
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("ildfv.texture", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _rows(confusion: np.ndarray) -> list[list[tuple[int, float]]]:
    """Rows of cells (number of images, fraction of the images of the row)."""
    totals = np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    return [
        [(int(n), float(s)) for n, s in zip(*pair, strict=True)]
        for pair in zip(confusion, confusion / totals, strict=True)
    ]


def _maps(evaluation: Evaluation, paths: dict[str, Path]) -> list[dict]:
    """For each class, the test image with the highest score in the last split, and its contributions to that score."""
    model, names = evaluation.last, list(paths)
    tested = [names[i] for i in evaluation.test]
    scores = model.scores([paths[name] for name in tested])
    found = []
    for c, label in enumerate(model.classes_):
        name = tested[int(scores[:, c].argmax())]
        picture = read_image(paths[name])
        values = contribution_maps(model, picture)[c]
        found.append({"label": str(label), "path": name, "image": _thumbnail(picture), "map": _signed(values)})
    return found


def _thumbnail(picture: Picture) -> str:
    values = picture.values
    low, high = (0, 255) if picture.eight_bit else np.percentile(values, (0.5, 99.5))
    return _small(np.clip((values - low) / max(high - low, 1e-12) * 255, 0, 255).astype(np.uint8))


def _signed(values: np.ndarray) -> str:
    """An image that is red where values are positive and blue where they are negative.

    Absolute values from their 99th percentile on are drawn in full colour.
    """
    size = float(np.percentile(np.abs(values), 99)) or 1.0
    share = np.clip(values / size, -1, 1)[..., None]
    red, blue, white = (np.array(c, float) for c in ((178, 24, 43), (33, 102, 172), (247, 247, 247)))
    colours = white + np.abs(share) * (np.where(share > 0, red, blue) - white)
    return _small(colours.astype(np.uint8))


def _small(values: np.ndarray) -> str:
    from PIL import Image

    image = Image.fromarray(values)
    image.thumbnail((SIDE, SIDE))
    return png_uri(np.asarray(image))
