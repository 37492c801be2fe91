"""The results of a system from its scores: decision thresholds from validation slices, metrics from test slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.errors import check
from ildfv.evaluation.documents import SCAN, Results
from ildfv.evaluation.predictions import Predictions
from ildfv.evaluation.results import evaluate
from ildfv.evaluation.thresholds import Decisions
from ildfv.patterns import PATTERNS
from ildfv.pipeline.by_scan import unit_of
from ildfv.pipeline.split import Split
from ildfv.pipeline.units import (
    has_pixel_counts,
    labelled_patterns,
    patients_of,
    presence_of,
    units_of,
    unlearned_patterns,
)
from ildfv.pipeline.workspace import Workspace
from ildfv.store.atomic import sha256, sweep, write_bytes
from ildfv.store.lock import writing
from ildfv.version import versions

COLUMNS = ("slice", "patient", "series", "position", "fold", *PATTERNS)  # columns of results/<name>.csv
SCORED_AGAIN = "run `ildfv train` or `ildfv regress` again"
SCAN_COLUMNS = ("scan", "patient", "series", "slices", "fold", *PATTERNS)  # if scans are scored as a whole
OLD_COLUMNS = ("slice", *PATTERNS)  # columns of the tables that earlier versions wrote
PATIENCE = 60.0  # seconds to wait for the lock, which other processes hold while they write two small files


def score(
    workspace: Workspace,
    slices: Slices,
    split: Split,
    *,
    system: str,
    validation_scores: np.ndarray,
    test_scores: np.ndarray,
    settings: dict,
) -> Results:
    """The results of one system on the held-out fold. They are also written to results/<system>-fold-<k>.json.

    validation_scores, test_scores: (m, C), in the order of `units_of(slices, split.validation)` and of
    `units_of(slices, split.test)`. They are scores of slices or, if scans are labelled as a whole, of scans. A larger
    score means that the pattern is more likely to be present. The scores of a pattern without any label in the study
    are replaced by NaN.
    """
    test_scores = np.where(labelled_patterns(slices), test_scores, np.nan)
    threshold = workspace.settings.threshold
    validation, test = units_of(slices, split.validation), units_of(slices, split.test)
    predictions = Predictions(
        system=system,
        fold=split.fold,
        scores=test_scores,
        presence=presence_of(slices, test, threshold),
        patients=patients_of(slices, test),
        decisions=Decisions.fit(presence_of(slices, validation, threshold), validation_scores),
        labels=PATTERNS,
        unit=unit_of(slices),
        pixel_counts=has_pixel_counts(slices),
        unlearned=unlearned_patterns(slices, split.train, threshold),
    )
    results = evaluate(
        predictions,
        data=slices.data,
        threshold=threshold,
        seed=workspace.settings.seed,
        settings={**settings, "slices": slices.key, "folds": split.folds, "versions": versions()},
    )
    name = f"{system}-fold-{split.fold}"
    with writing(workspace.results_dir, patience=PATIENCE):
        sweep(workspace.results_dir)
        path = write_scores(workspace, name, slices, split, test_scores)
        results = results.model_copy(update={"scores_sha256": sha256(path)})
        workspace.write_result(name, results)
    return results


def write_scores(workspace: Workspace, name: str, slices: Slices, split: Split, scores: np.ndarray) -> Path:
    """Writes results/<name>.csv with one line per test slice, or per test scan, and returns its path.

    The columns are slice (index of the slice), patient and series (salted hashes), position (mm along the slice
    normal), fold (the test fold), and the scores (m, C) with all digits; the cell of a NaN is empty. If scans are
    labelled as a whole, the columns are scan (index of the scan in the order of the series), patient, series, slices
    (number of slices), fold, and the scores.
    """
    units = units_of(slices, split.test)
    patients = patients_of(slices, units)
    if unit_of(slices) == SCAN:
        columns, series = SCAN_COLUMNS, slices.scans("series")[units]
        details = [str(size) for size in slices.sizes[units]]
    else:
        columns, series = COLUMNS, slices.series[units]
        details = [f"{position:.9g}" for position in slices.positions[units]]
    rows = [",".join(columns)]
    for *known, row in zip(units, patients, series, details, scores, strict=True):
        rows.append(
            ",".join(
                [*map(str, known), str(split.fold), *("" if np.isnan(value) else f"{value:.17g}" for value in row)]
            )
        )
    path = workspace.results_dir / f"{name}.csv"
    write_bytes(path, ("\n".join(rows) + "\n").encode())
    return path


def read_scores(workspace: Workspace, name: str, checksum: str | None) -> tuple[np.ndarray, np.ndarray]:
    """(indices of slices or scans (m,), scores (m, C)) from results/<name>.csv.

    InputError: the file is missing or has other columns, or its SHA-256 is not `checksum`.
    """
    path = workspace.results_dir / f"{name}.csv"
    check(
        path.exists() and checksum == sha256(path),
        f"{path} must contain the scores that {name}.json was computed from, but it is missing or was changed: "
        f"{SCORED_AGAIN}",
    )
    with path.open(encoding="utf-8") as file:
        header = tuple(file.readline().rstrip("\n").split(","))
    known = header in (COLUMNS, SCAN_COLUMNS, OLD_COLUMNS)
    check(known, f"{path} must have the columns {', '.join(COLUMNS)}, got {', '.join(header)}")
    numbers = [column for column, name in enumerate(header) if name in (*OLD_COLUMNS, SCAN)]
    table = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2, usecols=numbers, converters=_number, encoding="utf-8")
    return table[:, 0].astype(np.int64), table[:, 1:]


def _number(text: str) -> float:
    """The number in a cell of a table; NaN for an empty cell."""
    return float(text or "nan")
