"""Numbers, settings and table cells as the text of a page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ildfv.counted import counted as with_commas
from ildfv.evaluation.tables import Cell, Table
from ildfv.patterns import Threshold, extent_text
from ildfv.report import figures
from ildfv.report.figures import number

OVERALL = {
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "f": "F",
    "mean_slice_f": "Mean slice F",
    "micro_f": "Micro F",
    "macro_f": "Macro F",
    "mean_auc": "Mean AUC",
}
NAMES = OVERALL | {"auc": "AUC", "supported_mean_auc": "Mean AUC of the patterns with enough patients"}
HASH = re.compile("[0-9a-f]{40,}")  # abbreviated on the page; results/*.json has all digits
VERDICTS = {"hit": "true positive", "alarm": "false positive", "miss": "false negative", "open": "no threshold"}
PAPER = "the paper"  # the second cell of a table row that quotes the paper


def count(value: int | None) -> str:
    """The number with narrow spaces between thousands, such as 12 345; "–" for None."""
    return figures.UNDEFINED if value is None else f"{value:,}".replace(",", "\u202f")


def extent(threshold: Threshold) -> str:
    """The smallest extent of a present pattern: "6 000 pixels of the scan's own grid", or "5% of the lung pixels"."""
    return extent_text(threshold) if isinstance(threshold, str) else f"{count(threshold)} pixels of the scan's own grid"


def counted(n: int, noun: str) -> str:
    """The number with its noun, such as "1 slice" or "12 345 slices"."""
    return with_commas(n, noun).replace(",", "\u202f")


def percent(part: float, whole: float) -> str:
    """The part as a percentage of the whole, such as "12.3 %"; "–" if the whole is 0."""
    return f"{100 * part / whole:.1f}\u00a0%" if whole else figures.UNDEFINED


def p_value(value: float | None) -> str:
    """A p value with three decimals, or "< 0.001"; "–" for None."""
    if value is None:
        return figures.UNDEFINED
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def duration(seconds: float) -> str:
    """A duration as text, such as "4.2 s", "3 min 20 s" or "2 h 5 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def plain(value: object) -> str:
    """A setting as text: "–" for None, "none" for {}, "yes" or "no" for a bool, commas in lists, long hashes cut."""
    if value is None:
        return figures.UNDEFINED
    if value == {}:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(plain(v) for v in value)
    if isinstance(value, str) and HASH.fullmatch(value):
        return value[:16] + "…"
    return f"{value:g}" if isinstance(value, float) else str(value)


def experiment_cell(cell: Cell) -> str:
    """The text of a table cell that is not an estimate."""
    if isinstance(cell, float):
        return number(cell) if abs(cell) < 10 else number(cell, 1)
    return count(cell) if isinstance(cell, int) else plain(cell)


def as_printed(table: Table, cell: Cell) -> str:
    """A cell of the paper's rows as text. Numbers have as many decimals as the paper prints in this table."""
    if not isinstance(cell, float):
        return experiment_cell(cell)
    printed = [value for row in table.rows if row[1] == PAPER for value in row if isinstance(value, float)]
    return number(cell, max(len(repr(value).partition(".")[2]) for value in printed))


def paired_rows(table: Table) -> list[tuple[list[Cell], list[Cell] | None]]:
    """(row, the paper's row or None) of each row of this run. The paper's row follows it and has the same label."""
    found: list[tuple[list[Cell], list[Cell] | None]] = []
    for row in table.rows:
        if found and row[1] == PAPER and found[-1][1] is None and found[-1][0][0] == row[0]:
            found[-1] = (found[-1][0], row)
        else:
            found.append((row, None))
    return found


def measure_name(key: str) -> str:
    """The title of a measure, such as "AUC, ground glass" for "ground glass/auc"."""
    pattern, _, name = key.rpartition("/")
    return NAMES.get(name, name) + (f", {pattern}" if pattern else "")


def verdict_of(present: bool, predicted: bool | None) -> str:
    """A key of VERDICTS; "" for a true negative."""
    if predicted is None:
        return "open"
    return ("hit" if present else "alarm") if predicted else ("miss" if present else "")


def groups(settings: Mapping) -> list[tuple[str, dict]]:
    """The settings as tables (caption, rows): one for plain values, and one for each mapping of settings.

    A mapping that contains only mappings gives one table for each of them.
    """
    plain_rows = {k: v for k, v in settings.items() if not isinstance(v, Mapping)}
    tables = [("Settings", plain_rows)] if plain_rows else []
    for name, value in settings.items():
        if not isinstance(value, Mapping):
            continue
        if value and all(isinstance(v, Mapping) for v in value.values()):
            tables += [(f"Settings: {inner}", dict(flat(v))) for inner, v in value.items()]
        else:
            tables.append((f"Settings: {name}", dict(flat(value))))
    return tables


def over_folds(settings: Mapping[int, Mapping]) -> dict[str, list[tuple[str, object]]]:
    """By dotted name of a setting, its values, each with the folds that have it; "" if all folds have the same value.

    settings: by fold, the nested settings of one system.
    """
    by_fold = {fold: dict(flat(one)) for fold, one in settings.items()}
    names = dict.fromkeys(name for one in by_fold.values() for name in one)
    return {name: _values({fold: one[name] for fold, one in by_fold.items() if name in one}) for name in names}


def _values(by_fold: Mapping[int, object]) -> list[tuple[str, object]]:
    distinct: list[tuple[list[int], object]] = []
    for fold, value in by_fold.items():
        same = next((folds for folds, known in distinct if known == value), None)
        if same is None:
            distinct.append(([fold], value))
        else:
            same.append(fold)
    if len(distinct) == 1:
        return [("", distinct[0][1])]
    return [(f"fold{'s' * (len(folds) > 1)} {', '.join(map(str, folds))}", value) for folds, value in distinct]


def flat(settings: Mapping, prefix: str = "") -> Iterator[tuple[str, object]]:
    """(dotted name, value) of each of the nested settings, in their order."""
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flat(value, name + ".")
        else:
            yield name, value
