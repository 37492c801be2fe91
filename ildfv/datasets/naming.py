"""Information in the path of a volume file: whether it is a label map, which scan it names, and its patient.

The path names a scan by a place (the folders) and a name (the file name). Words for a kind of data, such as "ct",
"images" or "labels", are removed from both:

    imagesTr/case_01_0000.nii.gz   place ("tr",)   name "case_01"
    labelsTr/case_01.nii.gz        place ("tr",)   name "case_01"   label map
    p7/dicom/IM0001.dcm            place ("p7",)   name ""          (a series is a folder)
    p7/p7_label.nrrd               place ("p7",)   name "p7"        label map

In a BIDS data set the name consists of the entities of the file name (sub, ses, acq, run, …), and folders are ignored.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Set
from dataclasses import dataclass
from pathlib import PurePath
from typing import NamedTuple


def _word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


LABEL_WORDS = _word_set(
    "label labels labelmap labelmaps lm seg segs segmentation segmentations dseg mask masks annotation annotations"
)
SCAN_WORDS = _word_set("ct hrct image images img imgs scan scans volume volumes vol")
FORMAT_WORDS = _word_set("dicom dicoms dcm nifti nii nrrd mha zip")
SPLIT_WORDS = _word_set("tr ts va val train training test testing validation")
KIND_WORDS = LABEL_WORDS | SCAN_WORDS | FORMAT_WORDS
# Words that describe how a label map was made or what it shows. They are not names of scans.
NUMBERED_WORDS = _word_set("reader rater version")
QUALIFIERS = NUMBERED_WORDS | _word_set(
    "ild pattern patterns manual auto automatic final corrected edited reviewed consensus"
)
STRUCTURE_WORDS = _word_set(
    "healthy ground glass ggo reticular reticulation honeycomb honeycombing emphysema consolidation fibrosis lesion "
    "lesions nodule nodules cyst cysts effusion lung lungs lobe lobes fissure fissures airway airways bronchi vessel "
    "vessels trachea heart body"
)
CONTENT_WORDS = QUALIFIERS | STRUCTURE_WORDS
VOLUME_SUFFIX = re.compile(r"(\.seg)?\.(nii|nrrd|nhdr|mha|mhd|hdr|img|dcm|dicom|ima)(\.gz)?$", re.IGNORECASE)
SLICER_SUFFIX = re.compile(r"\.seg\.\w+(\.gz)?$", re.IGNORECASE)
UID = re.compile(r"(?<![\d.])\d+(?:\.\d+){3,}(?![\d.])")
WORD = re.compile(rf"{UID.pattern}|[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_a-zA-Z]+")
BIDS_NAME = re.compile(r"(?:^|_)sub-[^_]+")
DERIVATIVE_ENTITIES = _word_set("desc label seg space res den hemi")  # not present in the name of a source image
BIDS_FOLDERS = _word_set("rawdata sourcedata derivatives")
FIRST_CHANNEL = re.compile(r"_0000$")  # nnU-Net numbers the channels of an image
CHANNEL = re.compile(r"_\d{4}$")
UNNAMED_FOLDER = SCAN_WORDS | FORMAT_WORDS | SPLIT_WORDS
ARCHIVE = re.compile(r"\.zip$", re.IGNORECASE)


@dataclass(frozen=True)
class PathName:
    """The name of a scan in a path: folders and file name, without the words that only state a kind of data."""

    place: tuple[str, ...]
    name: str


class Word(NamedTuple):
    """A word, a number or a UID within a text, case-folded."""

    text: str
    start: int
    end: int


def stem(name: str) -> str:
    """The file name without the suffixes of its format: "1.2.840.5.nii.gz" → "1.2.840.5"."""
    return VOLUME_SUFFIX.sub("", name)


def is_label_map(path: PurePath) -> bool:
    """Whether a word in the file name, the suffix .seg.nrrd, or a folder such as labelsTr marks it as a label map."""
    if SLICER_SUFFIX.search(path.name):
        return True
    words = _words(stem(path.name))
    if any(_is_one_of(words, i, LABEL_WORDS) for i in range(len(words))):
        return True
    return in_label_folder(path)


def in_label_folder(path: PurePath) -> bool:
    """Whether the file is in a folder of label maps, such as labelsTr, lung_masks or masks/patient-1."""
    return label_folder(path) is not None


def label_folder(path: PurePath) -> str | None:
    """The name of the folder of label maps that contains the file; None if there is none."""
    for folder in reversed(path.parent.parts):
        if _is_label_folder(folder):
            return folder
    return None


def _is_label_folder(folder: str) -> bool:
    """Whether all words of the folder name are usual for label maps, and one of them is a word for label maps."""
    found = set(words(folder))
    return bool(found & LABEL_WORDS) and found <= LABEL_WORDS | SPLIT_WORDS | CONTENT_WORDS | {"map", "maps"}


def path_name(path: PurePath) -> PathName:
    """Place and name of a volume file. path: relative to the folder that was searched."""
    name = stem(path.name)
    if BIDS_NAME.search(name):
        return PathName(_place(_above_bids(path.parent.parts)), _bids_name(name))
    return PathName(_place(path.parent.parts), FIRST_CHANNEL.sub("", _without(name, KIND_WORDS)))


def label_name(path: PurePath, folder: str) -> PathName:
    """Place and name of a label map. folder: a folder on its path that names a structure and is ignored, or ""."""
    parts = list(path.parts)
    if folder:
        parts.remove(folder)
    return path_name(PurePath(*parts))


def series_name(folder: PurePath) -> PathName:
    """Place and name of a DICOM series: its folder, with an empty name."""
    return PathName(_place(folder.parts), "")


def reduced(name: str) -> str:
    """The name of a scan without words that describe content: "p1_lobes_reader2" → "p1"."""
    return _without(name, CONTENT_WORDS)


def words(text: str) -> tuple[str, ...]:
    """The words of a text, case-folded: "GroundGlass-2" → ("ground", "glass", "2")."""
    return tuple(word.text for word in _words(text))


def unqualified(name: str) -> str:
    """The name of a scan without `QUALIFIERS`: "p1_lobes_reader2" → "p1_lobes"."""
    return _without(name, QUALIFIERS)


def content_words(name: str) -> tuple[str, ...]:
    """The words of a name that describe content: "GroundGlass_mask_reader2" → ("ground", "glass").

    `KIND_WORDS` and `QUALIFIERS` are removed. camelCase is split into words, unlike in the name of a scan.
    """
    kept = _kept(name, QUALIFIERS)
    return tuple(word.text for word in kept if word.text not in KIND_WORDS and word.text != "map")


def person_of(path: PurePath) -> tuple[str, bool]:
    """The patient of a volume file, derived from its path, and whether a folder names the patient.

    The patient is the subject of a BIDS name. Without one, it is the first folder whose name contains more than words
    for a kind of data or a data split; without such a folder, it is the file name. For files in nnU-Net's imagesTr and
    imagesTs, only folders inside these are considered.
    """
    name, folders = stem(path.name), path.parent.parts
    if subject := BIDS_NAME.search(name):
        above = [folder for folder in _above_bids(folders) if folder not in BIDS_FOLDERS]
        return "/".join((*above, subject[0].lstrip("_"))), bool(folders)
    for i, folder in enumerate(folders):
        if set(words(folder)) & SCAN_WORDS and set(words(folder)) & SPLIT_WORDS:
            name, folders = CHANNEL.sub("", name), folders[i + 1 :]
            break
    named = [folder for folder in folders if not words(folder) or not set(words(folder)) <= UNNAMED_FOLDER]
    return (ARCHIVE.sub("", named[0]), True) if named else (name or path.name, False)


def uids(name: str) -> list[str]:
    """DICOM unique identifiers inside a file name."""
    return UID.findall(stem(name))


def _place(folders) -> tuple[str, ...]:
    """The names of the folders without words for a kind of data and, in folders of label maps, for content."""
    names = (
        _without(folder, KIND_WORDS | CONTENT_WORDS if _is_label_folder(folder) else KIND_WORDS) for folder in folders
    )
    return tuple(name for name in names if name)


def _above_bids(folders: tuple[str, ...]) -> tuple[str, ...]:
    """The folders above a BIDS data set, which starts at `derivatives` or at the folder of the subject."""
    for i, folder in enumerate(folders):
        if folder == "derivatives" or folder.startswith("sub-"):
            return folders[:i]
    return folders


def _bids_name(name: str) -> str:
    """The entities of a BIDS name, without those of derived files."""
    entities = [part for part in _folded(name).split("_") if "-" in part]
    return "_".join(part for part in entities if part.partition("-")[0] not in DERIVATIVE_ENTITIES)


def _folded(text: str) -> str:
    """The text in a form that compares letter case and composed characters as equal."""
    return unicodedata.normalize("NFC", text).casefold()


def _words(text: str) -> list[Word]:
    """The words of a text; camelCase is split into words."""
    text = unicodedata.normalize("NFC", text)
    return [Word(_folded(match[0]), *match.span()) for match in WORD.finditer(text)]


def _is_one_of(words: list[Word], i: int, chosen: Set[str]) -> bool:
    """Whether word i is one of the chosen words, except `lm` directly before a number, which may be initials."""
    word, after = words[i], words[i + 1] if i + 1 < len(words) else None
    if word.text == "lm" and after is not None and after.start == word.end:
        return False
    if word.text in ("map", "maps") and i > 0 and words[i - 1].text in ("label", "labels"):
        return chosen >= LABEL_WORDS
    return word.text in chosen


def _without(text: str, removed: Set[str]) -> str:
    """The text without the removed words, with "_" for separators. Adjacent words stay joined: "case1"."""
    result, last = "", None
    for word in _kept(text, removed):
        result += ("_" if last is not None and word.start != last.end else "") + word.text
        last = word
    return result


def _kept(text: str, removed: Set[str]) -> list[Word]:
    """The words of the text that are not removed. The number of a removed word, as in reader2, is removed too."""
    words, kept = _words(text), []
    number_of: Word | None = None  # a removed word, whose number is also removed
    for i, word in enumerate(words):
        if _is_one_of(words, i, removed):
            number_of = word if word.text in NUMBERED_WORDS else None
        elif not (number_of is not None and word.start == number_of.end and word.text.isdigit()):
            kept.append(word)
    return kept
