"""Who is fitted on, who chooses thresholds, and who is tested, for one fold of one workspace."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ildfv.datasets.slice_store import Slices
from ildfv.errors import InputError, check
from ildfv.evaluation.folds import Folds, make_folds
from ildfv.patterns import PATTERNS, presence
from ildfv.pipeline.workspace import Workspace
from ildfv.store.atomic import write_bytes
from ildfv.store.lock import writing
from ildfv.store.remote import absolute
from ildfv.version import __version__


@dataclass(frozen=True)
class Roles:
    """Ascending slice indices by role; all have label maps, and no patient has two roles (train = fit + validation)."""

    fold: int
    folds: str  # SHA-256 of the folds.json they come from: it may be another one by the time they are used
    fit: np.ndarray
    validation: np.ndarray
    train: np.ndarray
    test: np.ndarray


def make_roles(slices: Slices, folds: Folds, fold: int) -> Roles:
    """The roles of all labelled slices when `fold` is held out."""
    check(0 <= fold < folds.n_folds, f"fold must be in [0, {folds.n_folds}), got {fold}")
    patients, labelled = slices.scans("patient"), slices.scans("labelled")  # by scan: all slices of one have one role
    train, test = folds.train(fold, patients), folds.test(fold, patients)
    fit, validation = folds.inner(fold, patients)
    scans = {"fit": fit, "validation": validation, "train": train, "test": test}
    parts = {name: slices.of_scans(chosen[labelled[chosen]]) for name, chosen in scans.items()}
    for name, indices in parts.items():
        check(len(indices) > 0, f"{name} slices of fold {fold} must have label maps, got none that has")
    return Roles(fold, folds.sha256, **parts)


def open_workspace(root: Path, slices: str | None = None) -> Workspace:
    """The workspace in `root`; with `slices` (path or URL) one that reads its slices from there, made if need be."""
    if slices is None:
        return Workspace.open(root)
    slices = absolute(slices)
    Slices(slices)  # before a workspace is made for them
    return Workspace.open_or_create(root, version=__version__, slices=slices)


def make_split(
    workspace: Workspace, *, n_folds: int | None = None, seed: int | None = None, fresh: bool = False
) -> Folds:
    """The workspace's folds, written to folds.json: by patient, stratified by presence at the workspace's threshold.

    InputError where another split is there, perhaps made by hand; with `fresh` it is replaced.
    """
    slices, settings = workspace.slices(), workspace.settings
    folds = make_folds(
        slices.patients,
        presence(slices.counts, settings.threshold),
        n_folds=settings.folds if n_folds is None else n_folds,
        seed=settings.seed if seed is None else seed,
        threshold=settings.threshold,
        series=slices.series,
    )
    path, content = workspace.folds_file, folds.to_json().encode()
    with writing(workspace.root):
        other = path.exists() and path.read_bytes() != content
        if other and not fresh:
            raise InputError(f"{path} holds another split: --check takes it as it is, --fresh replaces it by this one")
        write_bytes(path, content)
    return folds


def load_folds(workspace: Workspace) -> Folds:
    """The workspace's folds; `InputError` says which command makes them."""
    if not workspace.folds_file.exists():
        raise InputError(f"{workspace.root} holds no folds: `ildfv folds` makes them")
    return Folds.load(workspace.folds_file)


def labelled_presence(slices: Slices, indices: np.ndarray, threshold: int) -> np.ndarray:
    """Presence (m, 4) of 0 and 1 for labelled slices."""
    found = presence(slices.counts[indices], threshold)
    check(bool((found >= 0).all()), f"slices must have label maps, got {int((found < 0).any(axis=1).sum())} without")
    return found.reshape(-1, len(PATTERNS))


def check_split(workspace: Workspace) -> Folds:
    """The workspace's folds, after making sure that they fit its slices: every patient known, none in two folds."""
    slices, folds = workspace.slices(), load_folds(workspace)
    for fold in range(folds.n_folds):
        make_roles(slices, folds, fold)
    return folds
