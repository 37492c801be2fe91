"""Scans of a workspace: its prepared scans with folds, reference labels and the scores of all systems."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ildfv.datasets.slice_labels import SliceLabels
from ildfv.datasets.slice_store import SIZE, Slices
from ildfv.errors import check
from ildfv.evaluation.documents import SCAN
from ildfv.patterns import ABSENT, PATTERNS, PRESENT, UNLABELLED, presence
from ildfv.pipeline.scored import current_results, predictions_of
from ildfv.pipeline.split import load_folds
from ildfv.pipeline.workspace import Workspace
from ildfv.scans.windows import GRID
from ildfv.store.atomic import read_json
from ildfv.store.checksummed import read_checksummed
from ildfv.viewer.images import PreparedImages, PreparedLabels
from ildfv.viewer.scan import System, ViewedScan
from ildfv.viewer.similar_slices import Similar, similar_of

if TYPE_CHECKING:
    from ildfv.viewer.computed_maps import ComputedMaps

HAS_LABEL_MAP = (
    "it has a label map, which `prepare --labels` does not override; correct it and run `ildfv prepare` again"
)
NO_SOURCE = "prepare.json does not list its files; run `ildfv prepare` again"
SHARED = "its folder contains several scans; put each series into a separate folder and run `ildfv prepare` again"
ELSEWHERE = "the workspace reads slices that were prepared elsewhere"
NO_MAPS = (
    "A workspace contains no contribution maps. To show them, run `ildfv export` and start `ildfv view` with "
    "`--predictor` and the exported folder."
)
COUNTED = "its labels are pixel counts, which presence or absence cannot replace"


def workspace_scans(
    workspace: Workspace, predictor: Path | None = None
) -> tuple[list[ViewedScan], Similar | None, list[str]]:
    """All prepared scans, the search for similar slices if there is an encoding, and notes for the user.

    Parameters
    ----------
    workspace : Workspace
    predictor : path, optional
        A predictor that computes contribution maps.

    Raises
    ------
    InputError
        There are no slices, files of the workspace are damaged, or the predictor cannot compute contribution maps for
        it.
    """
    slices, threshold = workspace.slices(), workspace.settings.threshold
    fold_of = load_folds(workspace).fold_of if workspace.folds_file.exists() else {}
    scores, decisions, notes = _scores(workspace, slices)
    sources = _sources(workspace)
    shared = {path for path, n in Counter(sources.values()).items() if n > 1}
    single = slice_labels(workspace)
    maps = None if predictor is None else _maps(predictor, slices)
    notes.append(NO_MAPS if maps is None else maps.note)
    scans = []
    for part, name in enumerate(slices.names):
        rows = slice(int(slices.starts[part]), int(slices.starts[part + 1]))
        patient = str(slices.scans("patient")[part])
        fold = fold_of.get(patient)
        source = sources.get(name)
        reason = "" if source is not None else ELSEWHERE if workspace.settings.slices is not None else NO_SOURCE
        if source in shared:
            reason = SHARED
        if name in single.counts and _counted(single.counts[name]):
            reason = COUNTED
        if slices.scans("labelled")[part] and name not in single.counts:
            reason = HAS_LABEL_MAP
        labelled = bool(slices.labelled[rows].any())
        has_map = labelled and name not in single.counts and slices.scan_labels is None
        scans.append(
            ViewedScan(
                name=name,
                patient=patient,
                fold=fold,
                patterns=PATTERNS,
                positions=slices.positions[rows],
                shape=(SIZE, SIZE),
                pixel=float(np.sqrt(slices.scans("paper_pixel_area")[part])) * GRID / SIZE,
                images=PreparedImages(slices, rows.start),
                systems=[
                    System(
                        system,
                        values[rows],
                        _probability(decisions.get((system, fold)), values[rows]),
                        _thresholds(decisions.get((system, fold))),
                    )
                    for system, values in scores.items()
                ],
                maps=[] if maps is None else maps.of(part),
                labels=PreparedLabels(slices, rows.start) if has_map else None,
                truth=presence(slices.counts[rows], threshold, slices.lung[rows]) if labelled else None,
                phantom=bool(slices.scans("phantom")[part]),
                source=None if reason else source,
                not_correctable=reason,
            )
        )
    similar, more = similar_of(workspace, scans, slices.key)
    return scans, similar, notes + more


def _maps(predictor: Path, slices: Slices) -> ComputedMaps:
    from ildfv.viewer.computed_maps import ComputedMaps  # imports all estimators

    return ComputedMaps(predictor, slices)


def slice_labels(workspace: Workspace) -> SliceLabels:
    """The labels of single slices that `prepare --labels` stored; empty if there are none."""
    if not workspace.slice_labels_file.exists():
        return SliceLabels()
    return SliceLabels.from_dict(read_checksummed(workspace.slice_labels_file)["labels"])


def _scores(workspace: Workspace, slices: Slices):
    """Scores (N, C) by system, NaN where there are none; decisions by system and fold; notes."""
    current, stale = current_results(workspace, slices)
    scores: dict[str, np.ndarray] = {}
    decisions = {}
    per_scan = []
    for name, results in current.items():
        if results.unit == SCAN:  # there are no scores of slices
            per_scan.append(results.system)
            continue
        indices, predictions = predictions_of(workspace, slices, name, results)
        values = scores.setdefault(predictions.system, np.full((len(slices), len(PATTERNS)), np.nan))
        values[indices] = predictions.scores
        decisions[predictions.system, predictions.fold] = predictions.decisions
    why = "is omitted, because it was scored on other slices or folds, or with another threshold."
    notes = [f"{name} {why}" for name in stale]
    if per_scan:
        notes.append(
            f"Systems scored per scan, because only scans are labelled: {', '.join(dict.fromkeys(per_scan))}. To see "
            "scores of slices, run `ildfv export` and `ildfv predict`."
        )
    return scores, decisions, notes


def _probability(decisions, scores: np.ndarray) -> np.ndarray:
    return np.full(scores.shape, np.nan) if decisions is None else decisions.probability(scores)


def _thresholds(decisions) -> list[float | None]:
    return [None] * len(PATTERNS) if decisions is None else list(decisions.thresholds)


def _sources(workspace: Workspace) -> dict[str, Path]:
    """The file or folder of each scan by its series, from prepare.json."""
    path = workspace.root / "prepare.json"
    if not path.exists():
        return {}
    content = read_json(path)
    rule = f"{path} must be the report of `ildfv prepare`, got another document: run `ildfv prepare` again"
    check(isinstance(content, dict) and isinstance(content.get("prepared"), list), rule)
    return {scan["series"]: Path(scan["source"]).resolve() for scan in content["prepared"]}


def _counted(rows: dict[int, list[int]]) -> bool:
    return any(value not in (ABSENT, PRESENT, UNLABELLED) for row in rows.values() for value in row)
