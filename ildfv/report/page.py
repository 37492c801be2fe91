"""The report as one self-contained HTML page without scripts or external files."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from ildfv.errors import printable_page
from ildfv.evaluation.documents import Results, Spread
from ildfv.evaluation.intervals import MIN_PATIENTS
from ildfv.evaluation.results import spread, undecided
from ildfv.evaluation.tables import Cell, Estimate, Table
from ildfv.inference.markup import code
from ildfv.inference.png import png_uri
from ildfv.patterns import PATTERNS
from ildfv.report import figures
from ildfv.report.chart import draw
from ildfv.report.content import RULE, Example, LabelMap, ReportContent
from ildfv.report.figures import SLOTS, Point, Series, number, with_interval
from ildfv.report.pictures import outlines
from ildfv.store.outputs import check_output, write_output

MARKER = b'<meta name="generator" content="ildfv report">'
KIND = "a page written by ildfv"
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
HASH = re.compile("[0-9a-f]{40,}")  # abbreviated; results/*.json has all digits
VERDICTS = {"hit": "true positive", "alarm": "false positive", "miss": "false negative", "open": "no threshold"}
PAPER = "the paper"  # source of a table's row
HEADLINES = ("accuracy", "f", "micro_f", "macro_f", "mean_auc")  # measures of a comparison that are not collapsed
NAMES = OVERALL | {"auc": "AUC"}


def write_report(path: str | Path, content: ReportContent) -> Path:
    """Writes the page atomically and returns its path.

    Undefined numbers are shown as "–". Equal content gives equal bytes. All names and notes are escaped. InputError:
    the path is a file other than a page of this kind.
    """
    path = Path(path)
    write_output(path, render(content).encode("utf-8"), MARKER, KIND)
    return path


def check_page(path: str | Path) -> None:
    """InputError if a page may not be written to `path`: something else is there. See `ildfv.store.outputs`."""
    check_output(Path(path), MARKER, KIND)


def render(content: ReportContent) -> str:
    """The page as text."""
    environment = Environment(
        loader=PackageLoader("ildfv.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    mark = "phantom data" if content.data == "phantom" else ""
    environment.filters |= {"number": number, "count": count, "p_value": p_value, "duration": duration, "plain": plain}
    environment.filters |= {"experiment_cell": experiment_cell, "code": code}
    environment.globals |= {"with_interval": with_interval, "percent": percent, "names": NAMES}
    environment.globals |= {"verdict_of": verdict_of, "paired": paired_rows, "as_printed": as_printed}
    environment.globals |= {"m_of": m_of, "min_patients": MIN_PATIENTS}
    environment.filters |= {"chart": lambda chart: draw(chart, mark=mark)}
    environment.tests |= {"estimate": lambda cell: isinstance(cell, Estimate)}
    shown = shown_results(content.results)
    ranked = sorted(shown, key=_worse)
    drawn = {d.system: slot for slot, d in enumerate(ranked[:SLOTS])}
    page = environment.get_template("report.html").render(
        content=content,
        phantom=content.data == "phantom",
        patterns=PATTERNS,
        shown=shown,
        ranked=ranked,
        drawn=drawn,
        folds=_folds_text(shown),
        best=best(shown),
        overall=OVERALL,
        headlines=HEADLINES,
        spreads=spreads(content.results),
        undecided=list(dict.fromkeys(line for document in shown for line in undecided(document))),
        charts=charts(shown, drawn, mark=mark),
        examples=[_picture(example) for example in content.examples],
        label_maps=[_triptych(one) for one in content.label_maps],
        without_threshold=any(p is None for e in content.examples for one in e.predictions for p in one.predicted),
        rule=content.examples_rule or RULE,
        verdicts=VERDICTS,
        tables=[*groups(content.settings), ("Versions", content.versions)],
        measure=measure_name,
    )
    return printable_page(page)


def shown_results(results: Sequence[Results]) -> list[Results]:
    """One document per system, in the given order: the pooled one if it exists, otherwise that of the lowest fold."""
    chosen: dict[str, Results] = {}
    for document in results:
        other = chosen.get(document.system)
        if other is None or _rank(document) < _rank(other):
            chosen[document.system] = document
    return list(chosen.values())


def spreads(results: Sequence[Results]) -> list[Spread]:
    """Mean ± SD over folds of each system with documents of at least two single folds."""
    by_system: dict[str, list[Results]] = {}
    for document in results:
        if document.fold is not None:
            by_system.setdefault(document.system, []).append(document)
    return [spread(documents) for documents in by_system.values() if len(documents) > 1]


def charts(shown: Sequence[Results], drawn: Mapping[str, int], *, mark: str = "") -> dict:
    """SVGs: {"forest": {"f", "auc"}, "roc" | "pr" | "calibration": {pattern: svg}}; {} without results.

    drawn: slot of each system to draw. mark: text printed in every chart.
    """
    if not shown:
        return {}
    systems = [(drawn[d.system], d.system, d) for d in shown if d.system in drawn]
    rows = {p: [Series(slot, name, d.per_pattern[p]) for slot, name, d in systems] for p in PATTERNS}
    forests = {}
    for measure, label, mean in (("f", "F", "macro_f"), ("auc", "AUC", "mean_auc")):
        points = {p: [Point(s.slot, s.name, *s.row.estimate(measure)) for s in series] for p, series in rows.items()}
        means = [Point(slot, name, *d.overall.estimate(mean)) for slot, name, d in systems]
        forests[measure] = figures.forest(label, [*points.items(), ("mean", means)], mark=mark)
    return {
        "forest": forests,
        "roc": {p: figures.roc(p, series, mark=mark) for p, series in rows.items()},
        "pr": {p: figures.pr(p, series, mark=mark) for p, series in rows.items()},
        "calibration": {p: figures.calibration(p, series, mark=mark) for p, series in rows.items()},
    }


def best(shown: Sequence[Results]) -> dict[tuple[str, str], float]:
    """The largest value of each column of the results tables: (measure, pattern or "overall") → value."""
    columns: dict[tuple[str, str], list[float | None]] = {}
    for document in shown:
        for pattern, row in document.per_pattern.items():
            for measure in ("f", "auc", "ap", "precision", "recall"):
                columns.setdefault((measure, pattern), []).append(row.estimate(measure)[0])
        for measure in OVERALL:
            columns.setdefault((measure, "overall"), []).append(document.overall.estimate(measure)[0])
    values = {key: [v for v in column if v is not None] for key, column in columns.items()}
    return {key: max(column) for key, column in values.items() if len(column) > 1}


def m_of(shown: Sequence[Results], measure: str, pattern: str | None = None) -> str:
    """Number of patients that a measure of a pattern, or of all, depends on in these documents: 7, or 5–7."""
    numbers = [(d.per_pattern[pattern] if pattern else d.overall).patients[measure] for d in shown]
    low, high = min(numbers), max(numbers)
    return count(low) if low == high else f"{count(low)}–{count(high)}"


def groups(settings: Mapping) -> list[tuple[str, dict]]:
    """Settings as tables of (caption, rows): one for each mapping, or for each inner one of a mapping of mappings."""
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


def flat(settings: Mapping, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Nested settings as (dotted name, value) in their order."""
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flat(value, name + ".")
        else:
            yield name, value


def measure_name(key: str) -> str:
    """ "ground glass/auc" → "AUC, ground glass"."""
    pattern, _, name = key.rpartition("/")
    return NAMES.get(name, name) + (f", {pattern}" if pattern else "")


def verdict_of(present: bool, predicted: bool | None) -> str:
    """A key of VERDICTS; "" for a true negative."""
    if predicted is None:
        return "open"
    return ("hit" if present else "alarm") if predicted else ("miss" if present else "")


def count(value: int | None) -> str:
    """12 345 with a thin space between thousands; "–" for None."""
    return figures.UNDEFINED if value is None else f"{value:,}".replace(",", "\u202f")


def percent(part: float, whole: float) -> str:
    """Part of a whole as 12.3 %; "–" if the whole is 0."""
    return f"{100 * part / whole:.1f}\u00a0%" if whole else figures.UNDEFINED


def p_value(value: float | None) -> str:
    """A p value with three decimals, or "< 0.001"."""
    if value is None:
        return figures.UNDEFINED
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def duration(seconds: float) -> str:
    """4.2 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def experiment_cell(cell: Cell) -> str:
    """A table cell that is not an estimate, as text."""
    if isinstance(cell, float):
        return number(cell) if abs(cell) < 10 else number(cell, 1)
    return count(cell) if isinstance(cell, int) else plain(cell)


def paired_rows(table: Table) -> list[tuple[list[Cell], list[Cell] | None]]:
    """Each row of this run with the paper's row of the same label that follows it, or None."""
    found: list[tuple[list[Cell], list[Cell] | None]] = []
    for row in table.rows:
        if found and row[1] == PAPER and found[-1][1] is None and found[-1][0][0] == row[0]:
            found[-1] = (found[-1][0], row)
        else:
            found.append((row, None))
    return found


def as_printed(table: Table, cell: Cell) -> str:
    """A number of the paper's rows with as many decimals as the paper prints in this table."""
    if not isinstance(cell, float):
        return experiment_cell(cell)
    printed = [value for row in table.rows if row[1] == PAPER for value in row if isinstance(value, float)]
    return number(cell, max(len(repr(value).partition(".")[2]) for value in printed))


def plain(value: object) -> str:
    """A setting as text: "–" for None, yes or no for a bool, lists with commas, hashes abbreviated."""
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


def _worse(document: Results) -> float:
    """Sort key: systems by falling mean AUC, those without one last."""
    auc = document.overall.mean_auc
    return math.inf if auc is None else -auc


def _rank(document: Results) -> int:
    """Sort key: pooled documents first, then by fold."""
    return -1 if document.fold is None else document.fold


def _folds_text(shown: Sequence[Results]) -> str:
    """The test slices of the shown documents, with the names of the systems if these were tested on different ones."""
    systems: dict[str, list[str]] = {}
    for d in shown:
        folds = f"folds {', '.join(map(str, d.folds))} pooled" if d.fold is None else f"fold {d.fold}"
        text = f"{folds}: {count(d.n_slices)} slices of {count(d.n_patients)} patients"
        systems.setdefault(text, []).append(d.system)
    if len(systems) == 1:
        return next(iter(systems))
    return "; ".join(f"{text} ({', '.join(names)})" for text, names in systems.items())


def _triptych(one: LabelMap) -> dict:
    """The template variables of one label map."""
    h, w = one.image.shape
    return {
        "uri": png_uri(one.image),
        "height": h,
        "width": w,
        "truth": outlines(one.truth, len(PATTERNS)),
        "predicted": outlines(one.predicted, len(PATTERNS)),
        "caption": one.caption,
    }


def _picture(example: Example) -> dict:
    """The template variables of one example; width and height are those of the image."""
    h, w = example.image.shape
    present = [p for p, t in zip(PATTERNS, example.truth, strict=True) if t]
    paths = outlines(example.labels, len(PATTERNS)) if example.labels is not None else [""] * len(PATTERNS)
    return {
        "uri": png_uri(example.image),
        "height": h,
        "width": w,
        "paths": paths,
        "caption": example.caption,
        "place": example.place,
        "truth": [bool(t) for t in example.truth],
        "alt": f"CT slice, {example.caption or 'no caption'}; patterns present: {', '.join(present) or 'none'}",
        "right": bool(example.predictions) and example.is_right(example.predictions[0]),
        "predictions": [
            {
                "system": one.system,
                "cells": list(zip(PATTERNS, example.truth, one.predicted, one.scores, strict=True)),
            }
            for one in example.predictions
        ],
    }
