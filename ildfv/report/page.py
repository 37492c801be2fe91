"""The report as one HTML page without scripts or external files."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from ildfv.errors import printable_page
from ildfv.evaluation.documents import Results, Spread
from ildfv.evaluation.intervals import MIN_PATIENTS
from ildfv.evaluation.results import spread, undecided
from ildfv.evaluation.tables import Estimate
from ildfv.inference.markup import code
from ildfv.inference.png import png_uri
from ildfv.patterns import PATTERNS
from ildfv.report import figures
from ildfv.report.cells import (
    NAMES,
    OVERALL,
    VERDICTS,
    as_printed,
    count,
    counted,
    duration,
    experiment_cell,
    extent,
    groups,
    measure_name,
    over_folds,
    p_value,
    paired_rows,
    percent,
    plain,
    verdict_of,
)
from ildfv.report.chart import draw
from ildfv.report.content import RULE, Example, LabelMap, ReportContent
from ildfv.report.figures import SLOTS, Point, Series, number, with_interval
from ildfv.report.page_file import KIND, MARKER
from ildfv.report.pictures import outlines
from ildfv.store.outputs import write_output

HEADLINES = ("accuracy", "f", "micro_f", "macro_f", "mean_auc")  # measures in the first table of comparisons


def write_report(path: str | Path, content: ReportContent) -> Path:
    """Writes the page atomically and returns its path.

    Undefined numbers are shown as "–". Equal content gives equal bytes. All names and notes are escaped. InputError:
    `path` exists and is not a page written by ildfv.
    """
    path = Path(path)
    write_output(path, render(content).encode("utf-8"), MARKER, KIND)
    return path


def render(content: ReportContent) -> str:
    """The HTML text of the page."""
    mark = "phantom data" if content.data == "phantom" else ""
    shown = shown_results(content.results)
    ranked = sorted(shown, key=_by_mean_auc)
    drawn = {d.system: slot for slot, d in enumerate(ranked[:SLOTS])}
    page = (
        _environment()
        .get_template("report.html")
        .render(
            content=content,
            phantom=content.data == "phantom",
            patterns=PATTERNS,
            shown=shown,
            ranked=ranked,
            drawn=drawn,
            folds=_folds_text(shown),
            u=content.unit,
            us=f"{content.unit}s",
            best=best(shown),
            overall=OVERALL,
            headlines=HEADLINES,
            spreads=spreads(content.results),
            undecided=list(dict.fromkeys(line for document in shown for line in undecided(document))),
            charts=charts(shown, drawn, mark=mark),
            examples=[_example_variables(example) for example in content.examples],
            label_maps=[_label_map_variables(label_map) for label_map in content.label_maps],
            without_threshold=any(p is None for e in content.examples for one in e.predictions for p in one.predicted),
            rule=content.examples_rule or RULE,
            verdicts=VERDICTS,
            tables=[*groups(content.settings), ("Versions", content.versions)],
            system_tables={name: over_folds(folds) for name, folds in content.system_settings.items()},
            measure=measure_name,
            mark=mark,
        )
    )
    return printable_page(page)


@functools.cache  # the environment keeps the compiled templates; compiling takes longer than filling them
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ildfv.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "count": count, "p_value": p_value, "duration": duration, "plain": plain}
    environment.filters |= {"experiment_cell": experiment_cell, "code": code, "extent": extent, "chart": draw}
    environment.globals |= {"with_interval": with_interval, "percent": percent, "names": NAMES, "counted": counted}
    environment.globals |= {"verdict_of": verdict_of, "paired": paired_rows, "as_printed": as_printed}
    environment.globals |= {"m_of": m_of, "min_patients": MIN_PATIENTS}
    environment.tests |= {"estimate": lambda cell: isinstance(cell, Estimate)}
    return environment


def shown_results(results: Sequence[Results]) -> list[Results]:
    """One document per system, in the given order: the pooled one or, if there is none, that of the lowest fold."""
    chosen: dict[str, Results] = {}
    for document in results:
        other = chosen.get(document.system)
        if other is None or _fold_order(document) < _fold_order(other):
            chosen[document.system] = document
    return list(chosen.values())


def spreads(results: Sequence[Results]) -> list[Spread]:
    """The spread over folds of each system that has documents of at least two single folds."""
    by_system: dict[str, list[Results]] = {}
    for document in results:
        if document.fold is not None:
            by_system.setdefault(document.system, []).append(document)
    return [spread(documents) for documents in by_system.values() if len(documents) > 1]


def charts(shown: Sequence[Results], drawn: Mapping[str, int], *, mark: str = "") -> dict:
    """The charts as SVG; {} without results.

    {"forest": {"f": svg, "auc": svg}, "roc": {pattern: svg}, "pr": {pattern: svg}, "calibration": {pattern: svg}}
    drawn: the systems to draw, with the number of their colour. mark: text that is printed in every chart.
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
        "calibration": {p: figures.calibration(p, series, mark=mark, unit=shown[0].unit) for p, series in rows.items()},
    }


def best(shown: Sequence[Results]) -> dict[tuple[str, str], float]:
    """The largest value of each column of the results tables, by (measure, pattern or "overall").

    Columns with fewer than two values are omitted.
    """
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
    """Number of patients that a measure depends on, as text: "7", or "5–7" if the documents differ.

    pattern: None for an overall measure.
    """
    numbers = [(d.per_pattern[pattern] if pattern else d.overall).patients[measure] for d in shown]
    low, high = min(numbers), max(numbers)
    return count(low) if low == high else f"{count(low)}–{count(high)}"


def _by_mean_auc(document: Results) -> float:
    """Sort key: largest mean AUC first, systems without a mean AUC last."""
    auc = document.overall.mean_auc
    return math.inf if auc is None else -auc


def _fold_order(document: Results) -> int:
    """Sort key: the pooled document first, then the folds in order."""
    return -1 if document.fold is None else document.fold


def _folds_text(shown: Sequence[Results]) -> str:
    """The test folds and their numbers of slices and patients, as text; per system if the systems differ."""
    systems: dict[str, list[str]] = {}
    for d in shown:
        folds = f"folds {', '.join(map(str, d.folds))} (pooled)" if d.fold is None else f"fold {d.fold}"
        text = f"{folds}: {counted(d.n_slices, d.unit)} of {counted(d.n_patients, 'patient')}"
        systems.setdefault(text, []).append(d.system)
    if len(systems) == 1:
        return next(iter(systems))
    return "; ".join(f"{text} ({', '.join(names)})" for text, names in systems.items())


def _label_map_variables(label_map: LabelMap) -> dict:
    """The template variables of one label map."""
    h, w = label_map.image.shape
    return {
        "uri": png_uri(label_map.image),
        "height": h,
        "width": w,
        "truth": outlines(label_map.truth, len(PATTERNS)),
        "predicted": outlines(label_map.predicted, len(PATTERNS)),
        "caption": label_map.caption,
    }


def _example_variables(example: Example) -> dict:
    """The template variables of one example."""
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
