"""Pictures of the prediction as RGB Secondary Captures, for viewers that cannot show other derived objects.

The pictures do not show the patient's identity; the headers contain it. Slices are in radiological orientation,
whatever the orientation of the source.
"""

from __future__ import annotations

import textwrap

import numpy as np
from highdicom.sc import SCImage
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset

from ildfv.counted import counted
from ildfv.dicom_output.origin import Origin
from ildfv.inference.page import evidence_scale, overlay
from ildfv.inference.sentences import NOT_LABELLED
from ildfv.scans.windows import NORMAL, SIZE

ZOOM = 2  # pixels of a picture along a side of a pixel of a prepared slice
LINE, TEXT, MARGIN = 22, 16, 8  # pixels
INK, PAPER = (235, 235, 235), (0, 0, 0)
WIDTH = 2 * SIZE * ZOOM
WRAP = 105  # maximum number of characters in a line


def captures(origin: Origin) -> list[SCImage]:
    """A page of results, then for each labelled pattern the slice with the highest score and its contribution map."""
    pictures: list[tuple[np.ndarray, str, int | None]] = [(_page(origin), "results", None)]
    for c in np.flatnonzero(origin.prediction.head.labelled).tolist():
        pattern = origin.prediction.patterns[c]
        z = int(origin.prediction.head.best[c])
        pictures.append((_example(origin, c, z), pattern, z))
    return [_capture(origin, i + 1, *picture) for i, picture in enumerate(pictures)]


def _capture(origin: Origin, number: int, picture: np.ndarray, what: str, z: int | None) -> SCImage:
    common = origin.common("capture", number, "pictures")
    image = SCImage.from_ref_dataset(
        origin.source.images[0],
        picture,
        "RGB",
        8,
        "PATIENT",
        patient_orientation=("L", "P"),
        **common,
    )
    image.DerivationDescription = f"ildfv {what}. {origin.use}"
    image.BurnedInAnnotation = "NO"  # the picture does not identify the patient
    shown = range(len(origin.prediction.positions)) if z is None else [z]
    image.SourceImageSequence = [_reference(origin, index) for index in shown]
    return image


def _reference(origin: Origin, z: int) -> Dataset:
    instance, item = origin.source.instances[origin.source.stored_index(z)], Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = instance.sop_class, instance.uid
    if instance.frame is not None:
        item.ReferencedFrameNumber = instance.frame
    return item


def _page(origin: Origin) -> np.ndarray:
    prediction, answer = origin.prediction, origin.prediction.head
    lines = [f"ildfv, {answer.name}: {origin.use}.", f"{counted(len(prediction.positions), 'slice')}.", ""]
    for c, pattern in enumerate(prediction.patterns):
        if not answer.labelled[c]:
            lines.append(f"{pattern}: {NOT_LABELLED}")
            continue
        n = int(answer.presence[:, c].sum())
        where = f"on {counted(n, 'slice')}" if n else "not found"
        if answer.pooling:  # the scan may show a pattern that no single slice shows
            on_scan = "present" if answer.present[c] else "not found"
            where = f"{on_scan} on the scan as a whole, present on {counted(n, 'single slice')}"
        lines.append(
            f"{pattern}: {where}; highest probability {_percent(answer.highest_probability(c))}; "
            f"look first at slice {_number(origin, int(answer.best[c]))}"
        )
    return _drawn([*lines, "", *_wrapped([*prediction.notes, *prediction.statements])])


def _example(origin: Origin, c: int, z: int) -> np.ndarray:
    """The slice without and, if there are maps, with its contributions, side by side below a caption."""
    prediction, answer = origin.prediction, origin.prediction.head
    plain = np.repeat(prediction.images[z, NORMAL][..., None], 3, axis=2)
    shown = [plain]
    if prediction.contributions is not None:
        maps = prediction.contributions[:, c]
        shown.append(overlay(prediction.images[z, NORMAL], maps[z], evidence_scale(maps)))
    pair = np.concatenate(shown, axis=1).repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
    caption = _drawn(
        [
            f"{prediction.patterns[c]}: {'present' if answer.presence[z, c] else 'not present'} on slice "
            f"{_number(origin, z)}, probability {_percent(answer.probability[z, c])}. {origin.use}.",
            "Right: orange is evidence for the pattern, blue is evidence against it."
            if len(shown) > 1
            else "This predictor has no maps.",
        ]
    )
    page = np.zeros((len(caption) + len(pair), WIDTH, 3), np.uint8)
    page[: len(caption)], page[len(caption) :, : pair.shape[1]] = caption, pair
    return page


def _number(origin: Origin, z: int) -> str:
    """The number of a slice in viewers: its InstanceNumber, or its frame number."""
    at = origin.source.stored_index(z)
    frame, number = origin.source.instances[at].frame, origin.source.images[at].get("InstanceNumber")
    return f"frame {frame}" if frame is not None else f"{z + 1}" if number is None else f"{z + 1} (image {number})"


def _drawn(lines: list[str]) -> np.ndarray:
    """Lines of text, uint8 (rows, WIDTH, 3)."""
    image = Image.new("RGB", (WIDTH, 2 * MARGIN + LINE * len(lines)), PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(TEXT)
    for i, line in enumerate(lines):
        draw.text((MARGIN, MARGIN + LINE * i), line, fill=INK, font=font)
    return np.asarray(image)


def _wrapped(sentences: list[str]) -> list[str]:
    return [line for sentence in sentences for line in textwrap.wrap(sentence, WRAP)]


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %" if np.isfinite(value) else "unknown"
