"""Predictions written by `ildfv predict`, read back for the viewer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ildfv.errors import InputError, check
from ildfv.inference.prediction import ANSWER, KIND, VERSION
from ildfv.store.atomic import read_json
from ildfv.viewer.scan import System


@dataclass(frozen=True)
class Answer:
    """The content of a prediction.json, checked.

    positions: mm, (m,). explained: the head whose scores the contribution maps add up to, "" if unknown.
    """

    folder: Path
    scan: str
    patterns: list[str]
    positions: np.ndarray
    systems: list[System]
    statements: list[str]
    notes: list[str]
    phantom: bool
    explained: str = ""


def answer_folders(path: Path) -> list[Path]:
    """The folders of predictions: `path` itself or its subfolders; [] if there is none."""
    if (path / ANSWER).is_file():
        return [path]
    return sorted(file.parent for file in path.glob(f"*/{ANSWER}")) if path.is_dir() else []


def read_answer(folder: Path) -> Answer:
    """The prediction in a folder. InputError: another document or version, or a missing or invalid value."""
    path = folder / ANSWER
    content = read_json(path)
    kind, version = (content.get(name) if isinstance(content, dict) else None for name in ("kind", "version"))
    check(kind == KIND, f"{path} must be of kind {KIND!r}, got {kind!r}")
    check(
        version == VERSION,
        f"{path} must have version {VERSION}, got {version!r}: use the version of ildfv that wrote it",
    )
    try:
        patterns = [str(name) for name in content["patterns"]]
        positions = np.array(content["positions_mm"], float)
        shape = (len(positions), len(patterns))
        return Answer(
            folder=folder,
            scan=str(content["scan"]),
            patterns=patterns,
            positions=positions,
            systems=[_system(path, name, head, patterns, shape) for name, head in content["heads"].items()],
            statements=[str(line) for line in content["reliability"]],
            notes=[str(line) for line in [*content["notes"], *_performance(content["heads"])]],
            phantom=content["predictor"].get("data") == "phantom",
            explained=str(content.get("contributions_head") or ""),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} must be a valid prediction, got an invalid or missing value ({error}): predict the scan again"
        ) from error


def _system(path: Path, name: str, head: dict[str, Any], patterns: list[str], shape: tuple[int, int]) -> System:
    scores, probability = (np.array(head["per_slice"][key], float) for key in ("scores", "probability"))
    for values in (scores, probability):
        check(values.shape == shape, f"{path}: {name} must have {shape} values (slices, patterns), got {values.shape}")
    thresholds = [head["scan"][pattern]["threshold"] for pattern in patterns]
    shown = np.array(head["per_slice"]["presence"] or np.empty(shape), float).reshape(shape)  # None becomes NaN
    known = np.isfinite(shown) & np.array([limit is not None for limit in thresholds])
    return System(name, scores, probability, thresholds, np.where(known, shown, -1).astype(np.int8))


def _performance(heads: dict[str, Any]) -> list[str]:
    """The sentences on the expected performance of the heads, where they are known."""
    return [f"{name}: {head['performance']}" for name, head in heads.items() if head.get("performance")]
