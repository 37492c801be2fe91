"""The results of one head for a scan, from the scores of its slices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ildfv.estimators.bags import pooled
from ildfv.evaluation.thresholds import Decisions
from ildfv.inference.batch import SliceBatch
from ildfv.inference.conformal import ABSENT, Conformal
from ildfv.inference.extent import first_slices, in_lung, sides, zones
from ildfv.inference.heads import conformal_of, decisions_of, estimated_pixels, sigmoids_of
from ildfv.inference.model_card import against_baselines
from ildfv.inference.prediction import HeadAnswer
from ildfv.inference.schema import Head
from ildfv.scans.volume import Volume
from ildfv.scans.windows import GRID

EARLIER = "the predictor was exported by an earlier version, which did not record the reason"


def head_answer(
    head: Head, patterns: Sequence[str], scores: np.ndarray, volume: Volume, lung: np.ndarray, *, has_size: bool
) -> HeadAnswer:
    """The results of a head for the scores (m, C) of a volume's slices.

    A pattern can be present only in the lung. A slice outside the lung (`in_lung`) therefore shows no pattern, is not
    among the slices to look at first, and does not contribute to the scan's probability. The area of a pattern is at
    most that of the lung. Slices of the neck and the abdomen may have high scores, because the training data contain
    few of them. Heads that pool slice scores are an exception: their scan scores must equal those that were calibrated,
    so the score of the scan and its presence depend on all slices.

    lung: area of lung on each slice, cm², (m,). has_size: whether the pixel size is known.
    """
    decisions = decisions_of(head)
    inside = in_lung(volume.positions, lung)
    rows = np.flatnonzero(inside)
    pixels = np.minimum(grid_pixels(head, scores, volume), (100 * lung / volume.pixel_area)[:, None])
    presence = decisions.predict(scores) & inside[:, None]
    area = pixels * (volume.pixel_area if has_size else np.nan) / 100
    scans = Decisions((None,) * scores.shape[1], sigmoids_of(head.scan_sigmoids)) if head.scan_sigmoids else None
    of_scan = scores[rows].max(axis=0, keepdims=True) if head.bags is None else pooled(head.bags, scores)
    probability = np.full(scores.shape[1], np.nan) if scans is None else scans.probability(of_scan)[0]
    conformal = head.conformal and conformal_of(head.conformal)
    return HeadAnswer(
        name=head.name,
        scores=scores,
        probability=np.where(inside[:, None], decisions.probability(scores), np.nan),
        presence=presence,
        pixels=pixels,
        area=area,
        thresholds=list(head.thresholds),
        best=rows[scores[rows].argmax(axis=0)],
        no_area=_no_area(head, area, has_size=has_size),
        extent=head.threshold if head.pixel_counts else None,
        no_probability=_no_probability(head, probability),
        scan_probability=probability,
        first=[
            [int(rows[i]) for i in first_slices(scores[rows, c], volume.positions[rows])] for c in range(len(patterns))
        ],
        zones=[zones(presence[:, c], area[:, c], volume.positions, lung) for c in range(len(patterns))],
        auc=[_auc(head, pattern) for pattern in patterns],
        performance=against_baselines(head),
        mean_error=_mean_errors(head, volume) if has_size else [],
        sets=_sets(conformal, scores, inside) if conformal else None,
        sets_level=conformal.level if conformal else None,
        no_sets="" if conformal else head.no_conformal,
        pooling=head.bags or "",
        scan_scores=np.empty(0) if head.bags is None else of_scan[0],
    )


def _no_probability(head: Head, probability: np.ndarray) -> list[str | None]:
    """For each pattern, the reason why the scan has no probability; None if it has one."""
    reasons = head.no_scan_probability or [""] * len(probability)
    return [None if np.isfinite(p) else reason or EARLIER for p, reason in zip(probability, reasons, strict=True)]


def _no_area(head: Head, area: np.ndarray, *, has_size: bool) -> list[str | None]:
    """For each pattern, the reason why its areas are unknown; None if they are known."""
    if head.bags is not None:
        reason = "the head was fitted to labels of scans, which do not state areas"
    elif not has_size:
        reason = "the pixel size of an image is unknown"
    else:
        reason = "the labels of the held-out slices do not state numbers of pixels"
    return [None if known else reason for known in np.isfinite(area).all(axis=0)]


def _sets(conformal: Conformal, scores: np.ndarray, inside: np.ndarray) -> list[list[str]]:
    """The conformal set of every slice and pattern; "absent" outside the lung."""
    outside = [ABSENT] * scores.shape[1]
    return [row if shown else outside for row, shown in zip(conformal.sets(scores), inside, strict=True)]


def _auc(head: Head, pattern: str) -> tuple[float, tuple[float, float] | None] | None:
    """The AUC of a pattern on held-out patients and its 95 % interval; None if it is undefined."""
    found = head.performance.patterns.get(pattern)
    return None if found is None or found.auc is None else (found.auc, found.auc_interval)


def grid_pixels(head: Head, scores: np.ndarray, volume: Volume) -> np.ndarray:
    """Estimated number of pixels on the scan's own grid, (m, C); NaN for patterns where it cannot be estimated."""
    known = head.target == "counts" or head.counts
    pixels = estimated_pixels(scores, head.threshold, head.counts) if known else np.full(scores.shape, np.nan)
    return pixels * grid_scale(volume.hu.shape[1:])


def _mean_errors(head: Head, volume: Volume) -> list[tuple[float, int] | None]:
    """For each pattern, the error of the mean area of a slice, cm², and the number of its held-out scans."""
    scale = grid_scale(volume.hu.shape[1:]) * volume.pixel_area / 100
    return [None if one is None else (one.pixels * scale, one.scans) for one in head.scan_errors]


def grid_scale(shape: tuple[int, ...]) -> float:
    """The number of pixels of a scan that cover one pixel of a 512×512 grid. shape: rows and columns of the scan."""
    return (max(shape) / GRID) ** 2


def shares_of(answer: HeadAnswer, maps: np.ndarray, batch: SliceBatch) -> list[dict[str, float] | None]:
    """For each pattern, the result of `sides` for the slices where it is present; None if there are no such slices."""
    found: list[dict[str, float] | None] = []
    for c in range(maps.shape[1]):
        shown = np.flatnonzero(answer.presence[:, c])
        if not len(shown):
            found.append(None)
            continue
        masks = batch[shown].masks
        lung, body = masks.of("lung", "rule"), masks.of("body", "rule")
        assert lung is not None
        assert body is not None
        found.append(sides(maps[shown, c], lung, body))
    return found
