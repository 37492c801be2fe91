"""The schema of one experiment's results as JSON and CSV, and the code that writes them.

results/experiments/<name>.json in the workspace:

    {"kind": "ildfv experiment", "version": 2, "name", "title",
     "paper": the table, figure or section of the paper that it refers to | null,
     "preset": "small" | "medium" | "paper", "extent": settings of that preset, with the command's options,
     "data": "phantom" | "user", "slices": key of the slices,
     "key": key of slices and folds together, the name of the folder experiments/<key>/,
     "folds": [held-out folds; empty if all slices are counted], "n_folds": number of folds of the workspace,
     "tables": [{"title", "note", "columns": [str], "rows": [[cell, …], …]}],
     "systems": {label: {"folder": name in experiments/<key>/{models, encodings, scores}/, "threshold": T,
                         "folds": [int], "inputs": everything that its scores depend on, except slices and folds,
                         "pooled": `evaluation.results.evaluate` document without curves,
                         "spread": mean, SD and number of folds of the measures (`evaluation.results.spread`)}},
     "comparisons": [`evaluation.comparisons.compare` documents, paired by patient],
     "notes": [str], "files": [names of image files in the same folder],
     "charts": [{"title", "x_label", "y_label", "x": [number], "series": {name: [measure for each x]}, "note"}],
     "seconds": wall time of this and earlier runs (of a killed run, up to the last network, encoding or scores that it
     finished), "versions": {package: version}, "sha256": of the document}

A cell is text, an integer, a number, null (undefined or unknown), or a measure:
    {"value": pooled over the held-out folds, "interval": 95 % interval [low, high] from resampled patients, or null,
     "mean", "sd": over folds (null for one fold), "n": number of folds where the measure is defined,
     "patients": number of patients that the measure depends on; with fewer than 5 there is no interval}

Every table with results has the columns "source" ("this run" or "the paper") and "data" (the data from which the
result was obtained).
results/experiments/<name>-<i>.csv is table i. A measure takes seven columns: F, F low, F high, F mean, F SD, F folds,
F patients.
results/experiments/<name>-tests.csv contains the comparisons, one line per measure: a, b, measure, difference (a − b),
low, high, p, patients, seeds, seed SD.
results/experiments/checklist.json is {"kind": "ildfv checklist", "title", "paper": null, "preset": null, "folds": [],
"tables", "notes", "sha256"} with tables as above.
results/experiments/curves.json also contains "documents": the complete `evaluate` documents, pooled and per fold, with
the curves of Fig. 5.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ildfv.evaluation.documents import Comparison
from ildfv.evaluation.tables import Cell, Estimate, Table
from ildfv.experiments.documents import ExperimentDocument
from ildfv.pipeline.workspace import Workspace
from ildfv.store.atomic import sweep, write_bytes
from ildfv.store.checksummed import write_checksummed
from ildfv.store.lock import writing

FOLDER = "experiments"
WIDE = ("low", "high", "mean", "SD", "folds", "patients")  # additional columns of a measure
PICTURES = {"speed": ("label-map",)}  # prefixes of the image files, by experiment


def write_experiment(
    workspace: Workspace, document: ExperimentDocument, files: Mapping[str, bytes] | None = None
) -> Path:
    """Writes the files of a document and returns the path of its JSON file, which is written last."""
    folder = workspace.results_dir / FOLDER
    with writing(folder):
        sweep(folder)
        name, tests = document.name, document.comparisons
        attachments = {f"{name}-{i}.csv": to_csv(table).encode() for i, table in enumerate(document.tables, start=1)}
        attachments |= {f"{name}-tests.csv": tests_csv(tests).encode()} if tests else {}
        attachments |= files or {}
        for file, content in attachments.items():
            write_bytes(folder / file, content)
        path = folder / f"{name}.json"
        write_checksummed(path, document.to_dict())
        _drop_older(folder, name, attachments)
    return path


def _drop_older(folder: Path, experiment: str, listed: Collection[str]) -> None:
    """Removes the tables and images of this experiment's earlier runs, except those `listed`.

    Images are named PREFIX-i.png, and each prefix belongs to one experiment. Images of other experiments are kept.
    """
    prefixes = {re.escape(prefix) for prefix in PICTURES.get(experiment, ())}
    tables = rf"{re.escape(experiment)}-([1-9]\d*|tests)\.csv"
    own = re.compile("|".join([tables, *(rf"{prefix}-[1-9]\d*\.png" for prefix in prefixes)]))
    for path in folder.iterdir():
        if own.fullmatch(path.name) and path.name not in listed:
            path.unlink()


def to_csv(table: Table) -> str:
    """The table as CSV text, with seven columns per measure."""
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.columns)
    wide = [any(isinstance(cell, Estimate) for cell in column) for column in columns]
    header: list[str] = []
    for name, is_wide in zip(table.columns, wide, strict=True):
        header += [name, *(f"{name} {column}" for column in WIDE if is_wide)]
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(header)
    for row in table.rows:
        cells: list = []
        for cell, is_wide in zip(row, wide, strict=True):
            cells += _spread_out(cell) if is_wide else [cell]
        rows.writerow(cells)
    return text.getvalue()


def tests_csv(comparisons: Sequence[Comparison]) -> str:
    """The comparisons as CSV text, one line per measure and pair."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("a", "b", "measure", "difference", "low", "high", "p", "patients", "seeds", "seed SD"))
    for comparison in comparisons:
        for measure, test in comparison.tests.items():
            seeds = (test.patients, test.seeds, test.seed_sd)
            rows.writerow(
                (comparison.a, comparison.b, measure, test.difference, *(test.interval or ("", "")), test.p, *seeds)
            )
    return text.getvalue()


def _spread_out(cell: Cell) -> list:
    if not isinstance(cell, Estimate):
        return [cell, *[None] * len(WIDE)]
    low, high = cell.interval or (None, None)
    return [cell.value, low, high, cell.mean, cell.sd, cell.n, cell.patients]
