"""Messages without the names of files and folders, which often contain the name or ID of a patient."""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ildfv.errors import InputError, MissingPackageError, explained, printable

LONGEST = 255  # characters; the limit of file systems
SHORTEST = 3  # characters; shorter names may be ordinary words and are not replaced everywhere, see `without_names`
REPLACEMENT = "…"
# Short words that occur in messages. A file may have such a name, so they are replaced where a message names a file.
WORDS = frozenset(("a", "an", "as", "at", "be", "by", "in", "is", "it", "no", "of", "on", "or", "to", "mm", "CT", "HU"))


@contextmanager
def errors_of(source: Path, folder: Path, *, keep_identity: bool) -> Iterator[None]:
    """Context manager: an error in reading a scan is raised as an `InputError` that names the source of the scan.

    Without `keep_identity`, the names of all files in the source are removed from the message. folder: the folder with
    the unpacked files of `source`.
    """
    missing = None
    try:
        yield
    except (InputError, MissingPackageError) as error:
        reason = explained(error)
    except OSError as error:
        reason, missing = f"{error.filename or source} must be readable, got {error.strerror or error}", error.filename
    else:
        return
    reason = reason.replace(str(folder), str(source))
    reason = reason if str(source) in reason else f"{source}: {reason}"
    raise InputError(reason if keep_identity else without_names(reason, folder, source, missing=missing))


def without_names(text: str, *folders: Path, missing: str | None = None) -> str:
    """The text with the names of all files and folders below `folders` replaced by "…".

    The names of `folders` themselves are kept, because the user gave them and needs them to find the scan. missing: a
    file that may no longer exist.

    Names are replaced in all forms in which messages contain them (`_printed`), with other suffixes, and if
    `format_error` has cut them. In paths, each component is replaced, whatever its length. Outside paths, names are
    replaced if they are whole words. A name with fewer than `SHORTEST` characters may also be a number or one of
    `WORDS`. Such a name is replaced only where a message names a file: at the start of the text or after a colon, and
    before a colon or "must".
    """
    inner: dict[str, set[str]] = defaultdict(set)  # printed names in each folder, by its path relative to `folders`
    for folder in folders:
        paths = [] if missing is None or not Path(missing).is_relative_to(folder) else [Path(missing)]
        for parts in (path.relative_to(folder).parts for path in paths):
            for i, name in enumerate(parts):
                inner[printable("/".join(parts[:i]))] |= _printed(name)
        for place, below, files in os.walk(folder):
            relative = printable(Path(place).relative_to(folder).as_posix())
            inner["" if relative == "." else relative].update(*map(_printed, (*below, *files)))
    names = sorted({name for found in inner.values() for name in found})
    text = _without_cut_names(printable(text), names)
    text = _without_paths(text, [printable(str(folder)) for folder in folders], inner)
    return _without_words(text, names)


def _printed(name: str) -> set[str]:
    """The forms in which messages contain a name: printable, as by `repr`, and with single spaces (`format_error`)."""
    return {printable(form) for form in (name, repr(name)[1:-1], " ".join(name.split()) or name)}


def _without_cut_names(text: str, names: Sequence[str]) -> str:
    """The text without the beginnings of names that stand before "…", where `format_error` cuts a message.

    names: sorted.
    """
    parts = text.split(REPLACEMENT)
    for number, part in enumerate(parts[:-1]):
        starts = (i for i in range(max(0, len(part) - LONGEST), len(part)) if not re.match(r"\w", part[i - 1 : i]))
        for start in starts:
            following = bisect_left(names, part[start:])
            if following < len(names) and names[following].startswith(part[start:]):
                parts[number] = part[:start]
                break
    return REPLACEMENT.join(parts)


def _without_paths(text: str, folders: Sequence[str], inner: Mapping[str, set[str]]) -> str:
    """The text without the names in paths below `folders`, and in relative paths of several components."""
    parts: list[str] = []
    i = 0
    while i < len(text):
        at_word = i == 0 or not re.match(r"[\w/…]", text[i - 1])
        folder = next((f for f in sorted(folders, key=len, reverse=True) if text.startswith(f"{f}/", i)), None)
        start = i if folder is None else i + len(folder) + 1
        components, end = _path_at(text, start, inner) if folder is not None or at_word else (0, start)
        if components > (folder is None):
            parts.append(text[i:start] + "/".join([REPLACEMENT] * components))
            i = end
        else:
            parts.append(text[i])
            i += 1
    return "".join(parts)


def _path_at(text: str, start: int, inner: Mapping[str, set[str]]) -> tuple[int, int]:
    """(number of components, end) of the longest path below the folders that starts here; (0, start) if none does."""
    place, components, end = "", 0, start
    while True:
        first = end + (components > 0)
        if components and not text.startswith("/", end):
            return components, end
        known: set[str] = inner.get(place, set())
        longest = min(len(text), first + LONGEST)
        ends = (last for last in range(longest, first, -1) if not re.match(r"\w", text[last : last + 1]))
        name = next((text[first:last] for last in ends if text[first:last] in known), None)
        if name is None:
            return components, end
        place, components, end = f"{place}/{name}" if place else name, components + 1, first + len(name)


def _without_words(text: str, names: Sequence[str]) -> str:
    """The text without single names. Longer names are replaced first, because a name may be a part of another.

    A file may also be named with another suffix, such as the missing ct.img of ct.hdr.
    """
    names = sorted(names, key=len, reverse=True)
    ambiguous = {name for name in names if len(name) < SHORTEST and (name.isdecimal() or name in WORDS)}
    certain = [name for name in names if name not in ambiguous]
    stems = sorted({name.partition(".")[0] for name in names if "." in name[1:]} - {""}, key=len, reverse=True)
    suffix = r"(?:\.[A-Za-z]\w*)+"
    for chosen, before, after in (
        (certain, r"(?<!\w)", r"(?!\w)"),
        (stems, r"(?<!\w)", suffix),
        (ambiguous, "(?:^|(?<=: ))", "(?=: | must )"),
    ):
        if chosen:
            text = re.sub(f"{before}(?:{'|'.join(map(re.escape, chosen))}){after}", REPLACEMENT, text)
    return text
