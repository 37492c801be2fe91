"""Division of a series into acquisitions, such as different breath-holds, contrast phases or reconstruction kernels.

Contiguous acquisitions of different parts of the chest belong to one scan. Acquisitions that interleave or repeat
positions are separate scans: if they were joined, every second slice might come from another breath-hold.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ildfv.scans.evengrid import MIN_GAP, normal_of
from ildfv.scans.headers import Frame, Header
from ildfv.scans.identifiers import ACQUISITION_TAGS, EVENT_TAGS, PRIVATE_TAGS

ORDERED = ("AcquisitionTime", "TriggerTime", "AcquisitionNumber", "InstanceNumber")  # increase during an acquisition
# Smallest number of distinct values of such a tag in a sweep, a movement along the patient in one direction. Fewer
# values may be in order by chance.
MIN_SWEEP = 3


@dataclass(frozen=True)
class Acquisition:
    """Files of one acquisition of a series; of a multi-frame file, only the frames that belong to it."""

    # The tags by which it differs from the other acquisitions of its series, with their values, such as
    # "AcquisitionNumber 2"; "" if it is the only one.
    name: str
    headers: tuple[Header, ...]


def acquisitions(headers: Sequence[Header]) -> list[Acquisition]:
    """The acquisitions of a series: one, unless some interleave or repeat positions."""
    frames = [(number, frame) for number, header in enumerate(headers) for frame in header.frames]
    normal = normal_of(frames[0][1])
    along = np.array([np.dot(frame.position, normal) for _, frame in frames])
    labels = []
    for name, values in _values(frames).items():
        groups = (_sweeps(values, along) if name in ORDERED else None) or values
        is_counter = name in (*ORDERED, *EVENT_TAGS) and 2 * len(set(values)) > len(values)
        if groups is values and (name == "InstanceNumber" or is_counter):
            continue  # the tag only numbers the slices
        if _overlap(groups, along):
            labels.append([f"{name} {_shown(name, value)}" for value in groups])
    if not labels:
        return [Acquisition("", tuple(headers))]
    names = [", ".join(values) for values in zip(*labels, strict=True)]
    kept: dict[str, dict[int, list[Frame]]] = defaultdict(lambda: defaultdict(list))
    for name, (number, frame) in zip(names, frames, strict=True):
        kept[name][number].append(frame)
    return [
        Acquisition(name, tuple(replace(headers[number], frames=tuple(own)) for number, own in kept[name].items()))
        for name in sorted(kept)
    ]


def _values(frames: list[tuple[int, Frame]]) -> dict[str, list[str]]:
    """The values of each tag in all frames, by name of the tag."""
    return {name: [frame.acquisition[i] for _, frame in frames] for i, name in enumerate(ACQUISITION_TAGS)}


def _shown(name: str, value: str) -> str:
    """The value as messages show it: a checksum if the value may identify a patient."""
    return hashlib.sha256(value.encode()).hexdigest()[:8] if name in PRIVATE_TAGS and value else value


def _overlap(values: list[str], along: np.ndarray) -> bool:
    """Whether slices of one value lie between slices of another, or at the same position."""
    groups = np.array(values)
    ranges = np.array(sorted((along[groups == value].min(), along[groups == value].max()) for value in set(values)))
    ends = np.maximum.accumulate(ranges[:, 1])
    return bool((ranges[1:, 0] <= ends[:-1] + MIN_GAP).any())


def _sweeps(values: list[str], along: np.ndarray) -> list[str] | None:
    """For each frame, the first value of its sweep along the patient; None if there is only one sweep.

    A sweep ends where the direction of movement along the patient reverses. The result is also None if a value is
    missing or not a number, or if sweeps are short or of very different lengths, because the values then do not follow
    the order of acquisition.
    """
    try:
        order = np.array([float(value) for value in values])
    except ValueError:
        return None
    distinct = np.unique(order)
    if len(distinct) < 2 * MIN_SWEEP:
        return None
    centres = np.array([along[order == value].mean() for value in distinct])
    if np.median(np.abs(np.diff(centres))) <= MIN_GAP:
        return None
    waits, moves = np.diff(distinct), np.diff(centres)
    # The pause and the movement between two sweeps differ from those within a sweep.
    jumps = waits / np.median(waits) + np.abs(np.abs(moves) / np.median(np.abs(moves)) - 1)
    starts, direction = [0], 0.0
    for i, move in enumerate(np.sign(moves)):
        if direction and move != direction:
            # The movement to the start of the next sweep may have either direction.
            starts.append(i if jumps[i - 1] > jumps[i] else i + 1)
            direction = move if starts[-1] == i else 0.0
        else:
            direction = move
    lengths = np.diff([*starts, len(distinct)])
    if len(starts) == 1 or lengths.min() < max(MIN_SWEEP, len(distinct) / len(starts) / 2):
        return None
    sweep = np.searchsorted(distinct[starts], order, side="right") - 1
    return [f"from {distinct[starts[number]]:.15g}" for number in sweep]
