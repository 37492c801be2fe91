"""Names of the columns of CSV tables: normalised spelling, and names that may be misspelt.

A table may have columns that are not used, such as age or notes. A column whose name resembles one that is missing is
not ignored, because its values may be meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from ildfv.counted import joined

SHORT = 5  # letters; names up to this length resemble names with one different letter, longer names with two
SHOWN = 12  # names in a note
SEPARATORS = re.compile(r"[\s_\-]+")


def spelled(name: str) -> str:
    """The name in lower case, with single spaces instead of spaces, underscores and hyphens."""
    return SEPARATORS.sub(" ", name.casefold()).strip()


def meant(
    name: str,
    missing: Iterable[str],
    synonyms: Mapping[str, Sequence[str]] | None = None,
    stems: Mapping[str, str] | None = None,
) -> list[str]:
    """The missing columns that a column of this name may stand for.

    Parameters
    ----------
    name : str
    missing : iterable of str
        Known names that the table lacks.
    synonyms : mapping, optional
        Other names of known columns, by known name.
    stems : mapping, optional
        For known names, letters that only related names contain.
    """
    letters = _letters(name)

    def resembles(other: str) -> bool:
        own = _letters(other)
        if letters in {_letters(synonym) for synonym in (synonyms or {}).get(other, ())}:
            return True
        stem = (stems or {}).get(other)
        return (stem is not None and stem in letters) or _edits(letters, own) <= (1 if len(own) <= SHORT else 2)

    return [other for other in missing if resembles(other)] if letters else []


def listed(names: Iterable[str], conjunction: str = "") -> str:
    """The names of columns for a message, such as `"age", "notes"` or, with the conjunction "and", `"age" and "notes"`.

    There must be at least one name with a conjunction.
    """
    quoted = [f'"{name}"' for name in names]
    return joined(quoted, conjunction) if conjunction else ", ".join(quoted)


def unused_note(file: str, names: Sequence[str]) -> list[str]:
    """A note that lists the columns of a file that are not used; [] if all are used."""
    if not names:
        return []
    more = f" and {len(names) - SHOWN} more" * (len(names) > SHOWN)
    return [f"columns of {file} that are not used ({len(names)}): {listed(names[:SHOWN])}{more}"]


def _letters(name: str) -> str:
    return spelled(name).replace(" ", "")


def _edits(a: str, b: str) -> int:
    """The Levenshtein distance: the smallest number of insertions, deletions and replacements that turn a into b."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return row[-1]
