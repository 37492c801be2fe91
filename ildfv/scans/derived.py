"""CT images that are not slices of a scan in Hounsfield units: projections, renderings, localizers, pages, maps.

DICOM gives such images the same SOP class as slices. Vendors mark them with different words in ImageType, or only in a
description, so the rule searches for words instead of comparing whole values.
"""

from __future__ import annotations

import re

TYPE_TAGS = ("ImageType", "FrameType", "VolumeBasedCalculationTechnique")
TEXT_TAGS = ("SeriesDescription", "DerivationDescription")

# Patterns for text from `_words`: upper case, one space between words. "For MIP" and "MIP source" describe thin slices.
PROJECTION = (
    r"(?<!FOR )(?<!NO )(?<!WITHOUT )\b[A-Z0-9]*(?:MIP|MINIP|MNIP|MAXIP|MXIP)S?\d*\b(?! SOURCE)",
    r"\b(?:MIN|MAX|MINIMUM|MAXIMUM)(?: INT| INTENSITY)? (?:IP|PROJ[A-Z]*)\b",
    r"\bINTENSITY PROJ[A-Z]*\b",
    r"\b(?:MINIMUM|MAXIMUM|MIN|MAX) INTENSIT(?:Y|IES)\b",
    r"(?<!FOR )\bM I P\b",
    # "Lung 10mm max" is a slab of that thickness; "5 min 10 mm" is a delay.
    r"\b\d+ ?MM (?:MIN|MAX)\b",
    r"(?<!\d )\b(?:MIN|MAX) \d+ ?MM\b",
    r"\bRAY ?SUM\b",
)
RENDERING = (r"\b(?:VOLUME|SURFACE) RENDER[A-Z]*\b", r"\bVOL ?REN[A-Z]*\b", r"\bVRT\b", r"\b3D VR\b")
MAP = (r"\b(?:IODINE|PERFUSION|PERFUSED BLOOD VOLUME|PBV|ZEFF) (?:MAP|OVERLAY|IMAGE)S?\b",)
LOCALIZER = (r"\bLOCALI[SZ]ER\b", r"\bSCOUT\b", r"\bTOPOGRAM\b", r"\bSURVIEW\b", r"\bSCANOGRAM\b")
PAGE = (r"\bSCREEN ?(?:SAVE|SHOT|CAPTURE)\b", r"\bDOSE (?:INFO|REPORT|RECORD|SUMMARY|PAGE)\b", r"\bPATIENT PROTOCOL\b")
CURVED = (r"\bCURVED (?:MPR|PLANAR|REFORMAT[A-Z]*)\b",)
TEXT_MARKS = re.compile("|".join((*PROJECTION, *RENDERING, *LOCALIZER, *PAGE, *CURVED, *MAP, r"\bSUBTRACTION\b")))
# Searched only in type tags: in descriptions these words have other meanings ("low dose", "filtered back projection").
TYPE_WORDS = (
    r"\b(?:MIP|MINIP|MNIP|MAXIP|MXIP)[A-Z0-9]*\b",
    r"\bPJN\b",
    r"\bPROJECTION\b",
    r"\b(?:MAXIMUM|MINIMUM|MAX|MIN)\b",
    r"\b(?:COLLAPSED?|SLAB)\b",
    r"\b(?:SSD|RENDER[A-Z]*|VR|ENDOSCOP[A-Z]*|CURVED|CPR|PANORAM[A-Z]*)\b",
    r"\bSOM\d+ (?:TOP|PROT)\b",
    r"(?<!LOW )\b(?:DOSE|PROTOCOL|REPORT)\b",
    r"\b(?:SUBTRACT[A-Z]*|ADDITION|DIVISION|MULTIPLICATION|MASKED|QUANTITY|STD ?DEV[A-Z]*)\b",
    # Maps of other quantities. Monoenergetic (VMI) and virtual non-contrast images are in HU and are read.
    r"\b(?:EFF ATOMIC NUM|Z ?EFF|ELECTRON DENSITY|MAT SPECIFIC|MAT FRACTIONAL|MAT VALUE BASED|IODINE|PBV)\b",
    r"\b(?:CBF|CBV|MTT|TTP|TMAX)\b",
)
TYPE_MARKS = re.compile("|".join((TEXT_MARKS.pattern, *TYPE_WORDS)))


def no_slice(dataset) -> str:
    """The reason why a CT image is not a slice of a scan, or "".

    A match in a type tag is sufficient. A match in a description is sufficient unless ImageType states that the image
    is original; in that case, `contradiction` returns the reason.
    """
    for name in TYPE_TAGS:
        if marked := _marked_type(dataset, name):
            return f"{name} {marked}"
    if (samples := dataset.get("SamplesPerPixel")) not in (None, 1):
        return f"SamplesPerPixel {samples}"
    if not _original(dataset) and (found := _marked_text(dataset)):
        return found
    return _page(dataset)


def contradiction(dataset) -> str:
    """The match in a description of an image whose ImageType states that it is original, or ""."""
    return _marked_text(dataset) if _original(dataset) else ""


def _marked_type(dataset, name: str) -> str:
    """The first value of the tag that contains a word of `TYPE_MARKS`, or ""."""
    return next((value for value in _several(dataset, name) if TYPE_MARKS.search(_words(value))), "")


def _marked_text(dataset) -> str:
    """The tag and the matching words, or "". The rest of a description is omitted, because it may name a person."""
    for name in TEXT_TAGS:
        for value in _several(dataset, name):
            if found := TEXT_MARKS.search(_words(value)):
                return f"{name} with the word {found.group()}"
    return ""


def _original(dataset) -> bool:
    return "ORIGINAL" in _several(dataset, "ImageType")


def _page(dataset) -> str:
    """The reason for ignoring an image that is a report or protocol page without a position; "" for other images."""
    if any(dataset.get(name) for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")):
        return ""
    if dataset.get("PerFrameFunctionalGroupsSequence"):
        return ""
    if dataset.get("BitsAllocated") == 8 or "SECONDARY" in _several(dataset, "ImageType"):
        return "a page without a position in the patient"
    return ""


def _words(value: str) -> str:
    """The text with one space for all characters except A to Z and digits."""
    return re.sub(r"[^A-Z0-9]+", " ", value).strip()


def _several(dataset, name: str) -> list[str]:
    """The values of a tag in upper case."""
    value = dataset.get(name)
    values = [] if value is None else [value] if isinstance(value, str) else list(value)
    return [str(value).upper().strip() for value in values]
