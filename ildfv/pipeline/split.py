"""The folds of a workspace, and the split of its slices for one held-out fold.

The labelled slices of the held-out fold are the test slices. All other labelled slices are training slices, which are
split by patient into fit and validation slices. Networks, encoders, PCA and linear regressions are fitted on the fit
slices, and their thresholds on the validation slices. Ridge and logistic heads are fitted on all training slices.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError, check
from ildfv.evaluation.folds import Folds
from ildfv.evaluation.stratified_folds import make_folds
from ildfv.patterns import PATTERNS, Threshold, presence
from ildfv.pipeline.by_scan import refuse_scan_labels
from ildfv.pipeline.workspace import Workspace
from ildfv.store.atomic import write_bytes
from ildfv.store.lock import writing
from ildfv.store.remote import absolute
from ildfv.version import __version__


@dataclass(frozen=True)
class Split:
    """The ascending indices of the labelled slices in each part. No patient is in two of fit, validation and test.

    fold: the held-out fold. folds: SHA-256 of the folds.json from which the split was made. train: fit and validation
    together.
    """

    fold: int
    folds: str
    fit: np.ndarray
    validation: np.ndarray
    train: np.ndarray
    test: np.ndarray


def split_slices(slices: Slices, folds: Folds, fold: int) -> Split:
    """The split of all labelled slices with `fold` held out. InputError: no such fold, or a part without labels."""
    check(0 <= fold < folds.n_folds, f"fold must be 0 to {folds.n_folds - 1}, got {fold}")
    patients = slices.scans("patient")  # (scans,): all slices of a scan are in the same part
    labelled = slices.labelled  # (N,)
    train, test = folds.train(fold, patients), folds.test(fold, patients)
    fit, validation = folds.inner(fold, patients)
    scans = {"fit": fit, "validation": validation, "train": train, "test": test}
    parts = {name: (indices := slices.of_scans(chosen))[labelled[indices]] for name, chosen in scans.items()}
    for name, indices in parts.items():
        check(
            len(indices) > 0,
            f"the {name} part of fold {fold} must have slices with labels, got none: run `ildfv folds --fresh`",
        )
    return Split(fold, folds.sha256, **parts)


def open_workspace(root: Path, slices: str | None = None) -> Workspace:
    """The workspace in `root`. With `slices`, a path or URL of prepared slices to use, it is created if necessary."""
    if slices is None:
        return Workspace.open(root)
    slices = absolute(slices)
    Slices(slices)  # raises InputError before a workspace is created
    return Workspace.open_or_create(root, version=__version__, slices=slices)


def write_folds(
    workspace: Workspace, *, n_folds: int | None = None, seed: int | None = None, fresh: bool = False
) -> Folds:
    """Writes new folds to the workspace's folds.json and returns them.

    The folds are split by patient and stratified by pattern. If scans are labelled as a whole, the numbers of slices in
    the folds are numbers of scans. n_folds, seed: None for the workspace's settings. InputError: folds.json contains
    other folds, which may have been edited by hand, and `fresh` is false.
    """
    slices, settings = workspace.slices(), workspace.settings
    if slices.scan_labels is None:
        patients, series = slices.patients, slices.series
        shown = presence(slices.counts, settings.threshold, slices.lung)
        details = np.column_stack([slices.counts, slices.lung, slices.positions])
    else:  # one row per scan
        patients, shown, series = slices.scans("patient"), slices.scan_labels, slices.scans("series")
        lung = np.add.reduceat(slices.lung.astype(np.int64), slices.starts[:-1])
        details = np.column_stack([shown, slices.sizes, lung, slices.positions[slices.starts[:-1]]])
    folds = make_folds(
        patients,
        shown,
        labels=PATTERNS,
        threshold=settings.threshold,
        n_folds=settings.folds if n_folds is None else n_folds,
        seed=settings.seed if seed is None else seed,
        series=series,
        content=details,
    )
    path, content = workspace.folds_file, folds.to_json().encode()
    with writing(workspace.root):
        differs = path.exists() and path.read_bytes() != content
        if differs and not fresh:
            raise InputError(f"{path} contains other folds: validate them with --check, or replace them with --fresh")
        write_bytes(path, content)
    return folds


def load_folds(workspace: Workspace) -> Folds:
    """The folds in the workspace's folds.json. InputError: the file is missing or not valid."""
    if not workspace.folds_file.exists():
        raise InputError(f"{workspace.root} has no folds.json: run `ildfv folds`")
    return Folds.load(workspace.folds_file, PATTERNS)


def check_folds(workspace: Workspace) -> Folds:
    """The workspace's folds. InputError: the folds do not match the slices, or a patient is in two folds."""
    slices, folds = workspace.slices(), load_folds(workspace)
    for fold in range(folds.n_folds):
        split_slices(slices, folds, fold)
    return folds


def labelled_presence(slices: Slices, indices: np.ndarray, threshold: Threshold) -> np.ndarray:
    """The presence of each pattern on these slices, 1, 0 or −1 (unknown), (m, C).

    InputError: a slice has no labels, or scans are labelled as a whole.
    """
    refuse_scan_labels(slices, "this command", "use `ildfv fit`, or `ildfv regress --head logistic`")
    found = presence(slices.counts[indices], threshold, slices.lung[indices])
    unlabelled = int((found < 0).all(axis=1).sum())
    check(unlabelled == 0, f"every slice must have a label map or labels, got {unlabelled} without them")
    return found.reshape(-1, len(PATTERNS))
