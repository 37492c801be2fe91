"""One self-contained HTML page: no script, no network, nothing beside the file."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from ildfv.evaluation.results import spread, undecided
from ildfv.patterns import PATTERNS
from ildfv.report import figures
from ildfv.report.content import RULE, LabelMap, ReportContent
from ildfv.report.figures import SLOTS, Series, number, with_interval
from ildfv.report.pictures import outlines, png_uri
from ildfv.store.outputs import check_output, write_output

MARKER = b'<meta name="generator" content="ildfv report">'
KIND = "a page that ildfv wrote"
OVERALL = {
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "f": "F",
    "micro_f": "Micro F",
    "macro_f": "Macro F",
    "mean_auc": "Mean AUC",
}
CODE = re.compile("`([^`]+)`")
HASH = re.compile("[0-9a-f]{40,}")  # results/*.json has it whole
VERDICTS = {"hit": "called, present", "alarm": "called, absent", "miss": "missed", "open": "no threshold"}
HEADLINES = ("accuracy", "f", "micro_f", "macro_f", "mean_auc")  # of a comparison; the rest is folded away
NAMES = OVERALL | {"auc": "AUC"}


def write_report(path: str | Path, content: ReportContent) -> Path:
    """The path of the page, written whole or not at all (a temporary file renamed into place).

    Undefined numbers are shown as "–". Equal content gives equal bytes. Every name and note is escaped. InputError: a
    file is there that is no such page.
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
    environment.filters |= {"number": number, "count": count, "p_value": p_value, "duration": duration, "plain": plain}
    environment.filters |= {"experiment_cell": experiment_cell, "code": code}
    environment.globals |= {"with_interval": with_interval, "percent": percent, "names": NAMES, "wordy": wordy}
    environment.globals |= {"verdict_of": verdict_of}
    shown = shown_results(content.results)
    ranked = sorted(shown, key=_worse)
    drawn = {d["system"]: slot for slot, d in enumerate(ranked[:SLOTS])}
    return environment.get_template("report.html").render(
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
        charts=charts(shown, drawn, mark="phantom data" if content.data == "phantom" else ""),
        examples=[_picture(example) for example in content.examples],
        label_maps=[_triptych(one) for one in content.label_maps],
        open_calls=any(p is None for e in content.examples for call in e.calls for p in call.predicted),
        rule=RULE,
        verdicts=VERDICTS,
        tables=[*groups(content.settings), ("Versions", content.versions)],
        measure=measure_name,
    )


def shown_results(results: Sequence[Mapping]) -> list[Mapping]:
    """One document per system, in the order given: the pooled one if there is one, else that of the lowest fold."""
    chosen: dict[str, Mapping] = {}
    for document in results:
        other = chosen.get(document["system"])
        if other is None or _rank(document) < _rank(other):
            chosen[document["system"]] = document
    return list(chosen.values())


def spreads(results: Sequence[Mapping]) -> list[dict]:
    """Mean ± SD over folds of each system that has single documents of two folds or more."""
    by_system: dict[str, list[Mapping]] = {}
    for document in results:
        if document["fold"] is not None:
            by_system.setdefault(document["system"], []).append(document)
    return [spread(documents) for documents in by_system.values() if len(documents) > 1]


def charts(shown: Sequence[Mapping], drawn: Mapping[str, int], *, mark: str = "") -> dict:
    """SVGs: {"forest": {"f", "auc"}, "roc" | "pr" | "calibration": {pattern: svg}}; {} without results.

    drawn: slot of each system to draw. mark: printed in every chart.
    """
    if not shown:
        return {}
    systems = [(drawn[d["system"]], d["system"], d) for d in shown if d["system"] in drawn]
    rows = {p: [Series(slot, name, d["per_pattern"][p]) for slot, name, d in systems] for p in PATTERNS}
    forests = {}
    for measure, label, mean in (("f", "F", "macro_f"), ("auc", "AUC", "mean_auc")):
        means = [
            Series(slot, name, {measure: d["overall"][mean], f"{measure}_interval": d["overall"][f"{mean}_interval"]})
            for slot, name, d in systems
        ]
        forests[measure] = figures.forest(measure, label, [*rows.items(), ("mean", means)], mark=mark)
    return {
        "forest": forests,
        "roc": {p: figures.roc(p, series, mark=mark) for p, series in rows.items()},
        "pr": {p: figures.pr(p, series, mark=mark) for p, series in rows.items()},
        "calibration": {p: figures.calibration(p, series, mark=mark) for p, series in rows.items()},
    }


def best(shown: Sequence[Mapping]) -> dict[tuple[str, str], float]:
    """The largest value of each column of the results tables: (measure, pattern or "overall") → value."""
    columns: dict[tuple[str, str], list[float | None]] = {}
    for document in shown:
        for pattern, row in document["per_pattern"].items():
            for measure in ("f", "auc", "ap", "precision", "recall"):
                columns.setdefault((measure, pattern), []).append(row[measure])
        for measure in OVERALL:
            columns.setdefault((measure, "overall"), []).append(document["overall"][measure])
    values = {key: [v for v in column if v is not None] for key, column in columns.items()}
    return {key: max(column) for key, column in values.items() if len(column) > 1}


def groups(settings: Mapping) -> list[tuple[str, dict]]:
    """Settings as tables of (caption, rows), one per mapping in them; a mapping of mappings gives one for each."""
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


def verdict_of(present: bool, called: bool | None) -> str:
    """A key of VERDICTS, or nothing where nothing is there and nothing is called."""
    if called is None:
        return "open"
    return ("hit" if present else "alarm") if called else ("miss" if present else "")


def count(value: int | None) -> str:
    """12 345 with a thin space between thousands; "–" for None."""
    return figures.UNDEFINED if value is None else f"{value:,}".replace(",", "\u202f")


def percent(part: float, whole: float) -> str:
    """Share of a whole as 12.3 %; "–" of nothing."""
    return f"{100 * part / whole:.1f}\u00a0%" if whole else figures.UNDEFINED


def p_value(value: float | None) -> str:
    """A p value as a page shows it."""
    if value is None:
        return figures.UNDEFINED
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def duration(seconds: float) -> str:
    """4.2 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def code(text: str) -> Markup:
    """Escaped, with what stands between backticks as code."""
    return Markup(CODE.sub(r"<code>\1</code>", str(escape(text))))


def experiment_cell(cell: object) -> str:
    """A cell of an experiment's table that is no measure, as text."""
    if isinstance(cell, float):
        return number(cell) if abs(cell) < 10 else number(cell, 1)
    return count(cell) if isinstance(cell, int) else plain(cell)


def wordy(table: Mapping, column: int) -> bool:
    """Whether a column of an experiment's table holds text, which stands to the left."""
    return any(isinstance(row[column], str) for row in table["rows"])


def plain(value: object) -> str:
    """A setting as text: "–" for None, yes or no for a truth value, lists with commas, hashes by their beginning."""
    if value is None:
        return figures.UNDEFINED
    if value == {}:
        return "nothing further"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(plain(v) for v in value)
    if isinstance(value, str) and HASH.fullmatch(value):
        return value[:16] + "…"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _worse(document: Mapping) -> float:
    """Smallest for the system of largest mean AUC, largest for one that has none."""
    auc = document["overall"]["mean_auc"]
    return math.inf if auc is None else -auc


def _rank(document: Mapping) -> int:
    return -1 if document["fold"] is None else document["fold"]


def _folds_text(shown: Sequence[Mapping]) -> str:
    """Which test slices the shown documents are about, and whose where they differ."""
    about: dict[str, list[str]] = {}
    for d in shown:
        pooled = d["fold"] is None
        folds = f"folds {', '.join(map(str, d['folds']))} pooled" if pooled else f"fold {d['fold']}"
        said = f"{folds}: {count(d['n_slices'])} slices of {count(d['n_patients'])} patients"
        about.setdefault(said, []).append(d["system"])
    if len(about) == 1:
        return next(iter(about))
    return "; ".join(f"{said} ({', '.join(systems)})" for said, systems in about.items())


def _triptych(one: LabelMap) -> dict:
    """What the template needs of one label map."""
    h, w = one.image.shape
    return {
        "uri": png_uri(one.image),
        "height": h,
        "width": w,
        "truth": outlines(one.truth, len(PATTERNS)),
        "called": outlines(one.called, len(PATTERNS)),
        "caption": one.caption,
    }


def _picture(example) -> dict:
    """What the template needs of one example; its sides are those of the image."""
    h, w = example.image.shape
    present = [p for p, t in zip(PATTERNS, example.truth, strict=True) if t]
    paths = outlines(example.labels, len(PATTERNS)) if example.labels is not None else [""] * len(PATTERNS)
    return {
        "uri": png_uri(example.image),
        "height": h,
        "width": w,
        "paths": paths,
        "caption": example.caption,
        "truth": [bool(t) for t in example.truth],
        "alt": f"CT slice, {example.caption or 'no caption'}; patterns present: {', '.join(present) or 'none'}",
        "right": bool(example.calls) and example.right(example.calls[0]),
        "calls": [
            {
                "system": call.system,
                "right": example.right(call),
                "cells": list(zip(PATTERNS, example.truth, call.predicted, call.scores, strict=True)),
            }
            for call in example.calls
        ],
    }
