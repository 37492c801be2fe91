"""The results of a system from its scores: decision thresholds from validation slices, metrics from test slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.errors import check
from ildfv.evaluation.documents import Results
from ildfv.evaluation.predictions import Predictions
from ildfv.evaluation.results import evaluate
from ildfv.evaluation.thresholds import Decisions
from ildfv.patterns import PATTERNS
from ildfv.pipeline.by_scan import SCAN, refuse_scan_labels, scan_presence, scans_of
from ildfv.pipeline.split import Split, labelled_presence
from ildfv.pipeline.workspace import Workspace
from ildfv.store.atomic import sha256, sweep, write_bytes
from ildfv.store.lock import writing
from ildfv.version import versions

COLUMNS = ("slice", "patient", "series", "position", "fold", *PATTERNS)  # columns of results/<name>.csv
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

    validation_scores, test_scores: (m, C), in the order of `split.validation` and `split.test`. A larger score means
    that the pattern is more likely present.
    """
    threshold = workspace.settings.threshold
    refuse_scan_labels(slices, "a score of slices", "score scans")
    predictions = Predictions(
        system=system,
        fold=split.fold,
        scores=test_scores,
        presence=labelled_presence(slices, split.test, threshold),
        patients=slices.patients[split.test],
        decisions=Decisions.fit(labelled_presence(slices, split.validation, threshold), validation_scores),
        labels=PATTERNS,
    )
    return _written(workspace, slices, split, predictions, settings)


def score_scans(
    workspace: Workspace,
    slices: Slices,
    split: Split,
    *,
    system: str,
    validation_scores: np.ndarray,
    test_scores: np.ndarray,
    settings: dict,
) -> Results:
    """The results of one system on the held-out fold, if scans are labelled and scored as a whole (`by_scan`).

    validation_scores, test_scores: scores of scans, (scans, C), in the order of `scans_of` for `split.validation` and
    `split.test`. The other parameters and the files are those of `score`.
    """
    validation, test = scans_of(slices, split.validation), scans_of(slices, split.test)
    predictions = Predictions(
        system=system,
        fold=split.fold,
        scores=test_scores,
        presence=scan_presence(slices, test),
        patients=slices.scans("patient")[test],
        decisions=Decisions.fit(scan_presence(slices, validation), validation_scores),
        labels=PATTERNS,
        unit=SCAN,
    )
    return _written(workspace, slices, split, predictions, settings)


def _written(workspace: Workspace, slices: Slices, split: Split, predictions: Predictions, settings: dict) -> Results:
    """The results of the predictions. They are written to results/ with the table of scores."""
    results = evaluate(
        predictions,
        data=slices.data,
        threshold=workspace.settings.threshold,
        seed=workspace.settings.seed,
        settings={**settings, "slices": slices.key, "folds": split.folds, "versions": versions()},
    )
    name = f"{predictions.system}-fold-{split.fold}"
    with writing(workspace.results_dir, patience=PATIENCE):
        sweep(workspace.results_dir)
        path = write_scores(workspace, name, slices, split, np.asarray(predictions.scores))
        results = results.model_copy(update={"scores_sha256": sha256(path)})
        workspace.write_result(name, results)
    return results


def write_scores(workspace: Workspace, name: str, slices: Slices, split: Split, scores: np.ndarray) -> Path:
    """Writes results/<name>.csv with one line per test slice, or per test scan, and returns its path.

    The columns are slice (index of the slice), patient and series (salted hashes), position (mm along the slice
    normal), fold (the test fold), and the scores (m, C) with all digits. If scans are labelled as a whole, they are
    scan (index of the scan in the order of the series), patient, series, slices (number of slices), fold, and scores.
    """
    if slices.scan_labels is None:
        columns, items = COLUMNS, split.test
        patients, series = slices.patients, slices.series
        third = [f"{position:.9g}" for position in slices.positions]
    else:
        columns, items = SCAN_COLUMNS, scans_of(slices, split.test)
        patients, series = slices.scans("patient"), slices.scans("series")
        third = [str(size) for size in slices.sizes]
    rows = [",".join(columns)]
    for index, row in zip(items, scores, strict=True):
        known = (index, patients[index], series[index], third[index], split.fold)
        rows.append(",".join([*map(str, known), *(f"{value:.17g}" for value in row)]))
    path = workspace.results_dir / f"{name}.csv"
    write_bytes(path, ("\n".join(rows) + "\n").encode())
    return path


def read_scores(workspace: Workspace, name: str, checksum: str | None) -> tuple[np.ndarray, np.ndarray]:
    """(indices of slices or scans (m,), scores (m, C)) from results/<name>.csv.

    InputError: the file is missing, or its SHA-256 is not `checksum`.
    """
    path = workspace.results_dir / f"{name}.csv"
    check(
        path.exists() and checksum == sha256(path),
        f"{path} must contain the scores that {name}.json was computed from, but it is missing or was changed: "
        "run `ildfv train` or `ildfv regress` again",
    )
    with path.open(encoding="utf-8") as file:
        header = tuple(file.readline().rstrip("\n").split(","))
    known = header in (COLUMNS, SCAN_COLUMNS, OLD_COLUMNS)
    check(known, f"{path} must have the columns {', '.join(COLUMNS)}, got {', '.join(header)}")
    numbers = [column for column, name in enumerate(header) if name in (*OLD_COLUMNS, SCAN)]
    table = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2, usecols=numbers)
    return table[:, 0].astype(np.int64), table[:, 1:]
