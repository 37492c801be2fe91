"""The technique of a scan: thickness of its sections, convolution kernel, manufacturer, and the HU of air in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ildfv.scans.headers import Frame

LONGEST = 32  # characters of a name; longer names are cut
ELSE = re.compile(r"[^A-Za-z0-9 ._+/()\[\],\\-]")  # characters that do not occur in names of kernels and manufacturers


@dataclass(frozen=True)
class Technique:
    """How a scan was made. Values are None or "" if they are unknown, as in volume files, which do not state them.

    thickness: mm. kernel, manufacturer: names from the DICOM header, see `name`. air: HU of the air around the body
    (`scans.normalise.level_of_air`), measured just before windowing.
    """

    thickness: float | None = None
    kernel: str = ""
    manufacturer: str = ""
    air: float | None = None


UNKNOWN = Technique()


def technique_of(frames: Sequence[Frame]) -> Technique:
    """The technique that the headers of a DICOM series state, without the HU of air.

    thickness: the median; None unless all slices state it. kernel, manufacturer: different values are joined by " + ".
    """
    known = [frame.thickness for frame in frames if frame.thickness is not None]
    return Technique(
        thickness=float(np.median(known)) if len(known) == len(frames) else None,
        kernel=name(" + ".join(sorted({frame.kernel for frame in frames} - {""}))),
        manufacturer=name(" + ".join(sorted({frame.manufacturer for frame in frames} - {""}))),
    )


def name(text: str) -> str:
    """The text as one short line without special characters, because it is shown in messages, pages and tables."""
    text = ELSE.sub("?", text.strip())
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"
