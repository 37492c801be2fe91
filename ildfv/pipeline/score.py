"""From a system's scores to its results file: decisions from validation slices, measures from test slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.errors import check
from ildfv.evaluation.results import Predictions, evaluate
from ildfv.evaluation.thresholds import Decisions
from ildfv.patterns import PATTERNS
from ildfv.pipeline.split import Roles, labelled_presence
from ildfv.pipeline.workspace import Workspace
from ildfv.store.atomic import sha256, sweep, write_bytes
from ildfv.store.lock import writing
from ildfv.version import versions

COLUMNS = ("slice", "patient", "series", "position", "fold", *PATTERNS)  # of results/<name>.csv
RESAMPLES = 2000
PATIENCE = 60.0  # seconds: others write their two files here too


def score(
    workspace: Workspace,
    slices: Slices,
    roles: Roles,
    *,
    system: str,
    validation_scores: np.ndarray,
    test_scores: np.ndarray,
    settings: dict,
) -> dict:
    """The results document of one system on the held-out fold, written to results/<system>-fold-<k>.json.

    validation_scores, test_scores: (m, 4), higher = more likely present, in the order of the roles' indices.
    """
    threshold = workspace.settings.threshold
    predictions = Predictions(
        system=system,
        fold=roles.fold,
        scores=test_scores,
        presence=labelled_presence(slices, roles.test, threshold),
        patients=slices.patients[roles.test],
        decisions=Decisions.fit(labelled_presence(slices, roles.validation, threshold), validation_scores),
    )
    document = evaluate(
        predictions,
        data=slices.data,
        threshold=threshold,
        n_resamples=RESAMPLES,
        seed=workspace.settings.seed,
        settings={**settings, "slices": slices.key, "folds": roles.folds, "versions": versions()},
    )
    name = f"{system}-fold-{roles.fold}"
    with writing(workspace.results_dir, patience=PATIENCE):
        sweep(workspace.results_dir)
        table = write_scores(workspace, name, slices, roles, test_scores)
        document["scores_sha256"] = sha256(table)
        workspace.write_result(name, document)
    return document


def write_scores(workspace: Workspace, name: str, slices: Slices, roles: Roles, scores: np.ndarray) -> Path:
    """The path of results/<name>.csv, a line a test slice, for anyone's own measures.

    Columns: slice (its index), patient and series (salted hashes), position (mm along the slice normal), fold (held
    out), and the four scores to their last bit.
    """
    patients, series, positions = slices.patients, slices.series, slices.positions
    rows = [",".join(COLUMNS)]
    for index, row in zip(roles.test, scores, strict=True):
        known = (index, patients[index], series[index], f"{positions[index]:.9g}", roles.fold)
        rows.append(",".join([*map(str, known), *(f"{value:.17g}" for value in row)]))
    path = workspace.results_dir / f"{name}.csv"
    write_bytes(path, ("\n".join(rows) + "\n").encode())
    return path


def read_scores(workspace: Workspace, name: str, document: dict) -> tuple[np.ndarray, np.ndarray]:
    """Slice indices (m,) and scores (m, 4) of results/<name>.csv; InputError unless its document is of these scores."""
    path = workspace.results_dir / f"{name}.csv"
    check(
        path.exists() and document.get("scores_sha256") == sha256(path),
        f"{path} must hold the scores that {name}.json was made from, got others or none: run `ildfv train` or "
        "`ildfv regress` again",
    )
    with path.open(encoding="utf-8") as file:
        header = file.readline().rstrip("\n").split(",")
    check(header == list(COLUMNS), f"{path} must have the columns {', '.join(COLUMNS)}, got {', '.join(header)}")
    numbers = [column for column, name in enumerate(COLUMNS) if name == "slice" or name in PATTERNS]
    table = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2, usecols=numbers)
    return table[:, 0].astype(np.int64), table[:, 1:]
