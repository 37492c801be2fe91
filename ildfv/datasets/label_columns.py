"""The columns of a file of labels (`label_file`): those that are used, and those that are not.

Columns are recognised by their names only (`columns.spelled`); all others are not used. But if one of these others may
be meant as a column that is missing, because its name is similar or because it contains labels although a pattern has
no column, the file is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from ildfv.columns import listed, meant, spelled
from ildfv.counted import joined
from ildfv.errors import InputError, check
from ildfv.patterns import ABSENT, PATTERNS, PRESENT, UNLABELLED

PIXELS = " pixels"  # suffix of a column of counts
POSITION, INSTANCE, FILE = "position", "instance", "file"
SERIES, SCAN = "series", "scan"
PATIENT = "patient"
WHERE, SCANS = (POSITION, INSTANCE, FILE), (SERIES, SCAN)
KEYS = (*SCANS, *WHERE, PATIENT)
# Values of a column of presence, compared regardless of case. "True" and "1.0" are written by pandas.
VALUES = {"": UNLABELLED, **dict.fromkeys(("0", "0.0", "no", "false"), ABSENT)}
VALUES |= dict.fromkeys(("1", "1.0", "yes", "true"), PRESENT)
UNKNOWN = ("nan", "na", "<na>")  # as pandas and R write an empty cell; compared regardless of case
IGNORE = "--ignore-column"

SYNONYMS = {  # names that are not accepted, because tables use them with different meanings
    SERIES: ("series uid", "series instance uid", "uid"),
    SCAN: ("scan id", "scan path", "path", "folder", "volume"),
    FILE: ("file name", "file path", "path", "image", "image name", "image file"),
    POSITION: ("slice position", "slice location", "location", "position mm", "z", "slice", "slice number"),
    INSTANCE: ("instance number", "slice", "slice number", "slice no"),
    PATIENT: ("patient id", "patient name", "patient number", "subject", "subject id", "person"),
    "ground glass": ("gg", "ggo"),
    "reticular": ("ret",),
    "honeycomb": ("hc",),
    "emphysema": ("emph",),
}
STEMS = {"ground glass": "groundglass", "reticular": "reticul", "honeycomb": "honeycomb", "emphysema": "emphys"}


@dataclass(frozen=True)
class LabelColumns:
    """The columns of a label file. names: normalised name of each column; "" for columns that are not used.

    scan, where: the columns that name the scan, and the slice in it ("" if there is none). patterns: for each index of
    a pattern, its column and whether the column holds counts. unused: columns that are not used, by their names in the
    file, or "column 3 without a name". ignored: the patterns without a column because the user ignores their columns.
    """

    names: tuple[str, ...]
    scan: str
    where: str
    patterns: Mapping[int, tuple[str, bool]]
    unused: tuple[str, ...]
    ignored: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """The patterns for which the file has no column."""
        return [p for k, p in enumerate(PATTERNS) if k not in self.patterns and p not in self.ignored]


def label_columns(
    path: Path, header: Sequence[str], rows: Sequence[Sequence[str]], ignored: Iterable[str] = ()
) -> LabelColumns:
    """The columns of a label file.

    header: its first row. rows: all other rows; their cells show which other columns may contain labels. ignored: names
    of columns that the user does not want to be used.

    Raises
    ------
    InputError
        A column that is needed is missing or repeated, columns exclude each other, the meaning of a column is unclear,
        or the file has no column of a name in `ignored`.
    """
    header = _without_empty_end(header, rows)
    left_out = _ignored(path, header, ignored)
    names = ["" if spelled(name) in left_out else spelled(name) for name in header]
    patterns = _patterns(path, names)
    used = {column for column, _ in patterns.values()} | {name for name in names if name in KEYS}
    repeated = sorted({name for name in used if names.count(name) > 1})
    check(not repeated, f"{path} must have each column once, got {', '.join(repeated)} several times")
    others = [i for i, name in enumerate(names) if name not in used]
    shown = {i: header[i].strip() or f"column {i + 1} without a name" for i in others}
    absent = [pattern for k, pattern in enumerate(PATTERNS) if k not in patterns]
    missing = _missing(names, absent)
    unclear = {i: found for i in others if (found := meant(names[i].removesuffix(PIXELS), missing, SYNONYMS, STEMS))}
    if unclear:
        means = ", ".join(f'column "{shown[i]}" may mean {" or ".join(found)}' for i, found in unclear.items())
        rename = "rename it" if len(unclear) == 1 else "rename them"
        raise InputError(f"{path}: {means}: {rename}, or give {_options(shown[i] for i in unclear)}")
    rule = f"{path} must have a column for a pattern ({', '.join(PATTERNS)})"
    check(bool(patterns), f"{rule}, got {listed(shown.values()) or 'none'}")
    scan, where = _keys(path, names)
    like = [i for i in others if names[i] and absent and _has_labels([row[i] for row in rows if i < len(row)])]
    if like:
        raise InputError(f"{path}: {_may_be_labels(like, names, shown, absent)}")
    names = [name if name in used else "" for name in names]
    ignored_patterns = {name.removesuffix(PIXELS) for name in left_out}
    left = tuple(pattern for pattern in absent if pattern in ignored_patterns)
    return LabelColumns(tuple(names), scan, where, patterns, tuple(shown.values()), left)


def _may_be_labels(like: Sequence[int], names: Sequence[str], shown: Mapping[int, str], absent: Sequence[str]) -> str:
    """Why the columns `like` may be labels, and the remedy. shown: their names in the file."""
    present = [pattern for pattern in PATTERNS if pattern not in absent]
    reasons: dict[str, list[str]] = {}
    for i in like:
        found = meant(names[i].removesuffix(PIXELS), present, SYNONYMS, STEMS)
        similar = f"the name is similar to {' or '.join(found)}, which has another column"
        missing = f"there is no column for {joined(absent, 'or')}"
        reasons.setdefault(similar if found else missing, []).append(shown[i])
    parts = [
        f"column{'s' * (len(columns) > 1)} {listed(columns, 'and')} may be labels of a pattern, because {why}"
        for why, columns in reasons.items()
    ]
    rename = "rename it" if len(like) == 1 else "rename them"
    return f"{'; '.join(parts)}: {rename}, or give {_options(shown[i] for i in like)}"


def _without_empty_end(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The header without the last columns that have neither a name nor values, as spreadsheets write them."""
    last = len(header)
    while last and not header[last - 1].strip() and not any(row[last - 1].strip() for row in rows if len(row) >= last):
        last -= 1
    return list(header[:last])


def _ignored(path: Path, header: Sequence[str], ignored: Iterable[str]) -> set[str]:
    """The normalised names of the columns to ignore."""
    known = {spelled(name) for name in header}
    for name in ignored:
        rule = f"{IGNORE} must name a column of {path}"
        check(spelled(name) in known, f'{rule}, got "{name}": choose one of {listed(name.strip() for name in header)}')
    return {spelled(name) for name in ignored}


def _missing(names: Collection[str], absent: Sequence[str]) -> list[str]:
    """The missing columns for which an unused column may be meant: keys (such as scan or patient) and patterns."""
    keys = [] if PATIENT in names else [PATIENT]
    if FILE not in names:
        has_scan = any(name in names for name in SCANS)
        has_where = any(name in names for name in WHERE)
        keys += ([] if has_scan else [*SCANS]) + ([] if has_where else [*WHERE])
        keys += [FILE] if not has_scan and has_where else []
    return [*dict.fromkeys(keys), *absent]


def _options(names: Iterable[str]) -> str:
    return " ".join(f"{IGNORE} {quote(name)}" for name in names)


def _has_labels(cells: Iterable[str]) -> bool:
    """Whether the cells of a column are labels of presence: 0 and 1, or words for them, with or without empty cells."""
    known = {cell for cell in (cell.strip().casefold() for cell in cells) if cell and cell not in UNKNOWN}
    return bool(known) and known <= VALUES.keys()


def _patterns(path: Path, names: Sequence[str]) -> dict[int, tuple[str, bool]]:
    """For each index of a pattern, its column and whether the column holds counts."""
    patterns: dict[int, tuple[str, bool]] = {}
    for name in names:
        pattern = name.removesuffix(PIXELS)
        if pattern in PATTERNS:
            k = PATTERNS.index(pattern)
            check(k not in patterns, f"{path} must have one column for {pattern}, got two")
            patterns[k] = (name, name.endswith(PIXELS))
    return patterns


def _keys(path: Path, names: Collection[str]) -> tuple[str, str]:
    """The column that names the scan, and the column that names the slice in the scan ("" if there is none)."""
    where, scan = ([c for c in keys if c in names] for keys in (WHERE, SCANS))
    got = f"got {', '.join(where)}: give {_options(where[1:])}"
    check(len(where) <= 1, f"{path} must have at most one of the columns {', '.join(WHERE)}, {got}")
    if where == [FILE]:
        rule = f"{path} must have the column {scan and scan[0]} or file, got both"
        check(not scan, f"{rule}: give {_options(scan)}")
        return FILE, ""
    if not scan and not where and PATIENT in names:
        return PATIENT, ""
    choices = f"if it has the column {where[0]}" if where else f"or {FILE} or {PATIENT}"
    check(bool(scan), f"{path} must have the column {' or '.join(SCANS)} {choices}, got none of them")
    check(len(scan) == 1, f"{path} must have the column {' or '.join(SCANS)}, got both: give {_options(scan[1:])}")
    return scan[0], where[0] if where else ""
