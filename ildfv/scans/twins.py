"""Slices handed in twice: which scan stays, and whose other scans must go, as one person is two patients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ildfv.errors import InputError
from ildfv.store.parts import Parts


class _Part(NamedTuple):
    """What tells parts apart, in the order in which twins stay: labelled ones, those handed in before, DICOM series."""

    unlabelled: bool
    handed_in: bool
    volume_file: bool  # whose patient is the name of a folder
    source: str
    name: str
    patient: str


def twins(parts: Parts, sources: Mapping[str, str], warn: Callable[[str], None]) -> dict[str, str]:
    """Why a part must be set aside, by its name: its slices are another's, or its patient's are another patient's too.

    sources: where the scans that are handed in now lie, by part; others were prepared before, from elsewhere. Twins
    under two patients show that the two are one person, whom a split by patient would put on both of its sides: no
    other scan of the one set aside may stay. warn: is told of parts that cannot be compared, as they are damaged.
    """
    alike: dict[bytes, list[_Part]] = defaultdict(list)
    for name in parts.rows:
        try:
            with parts.open(name) as file:
                lung = file["lung"][()].tobytes()
                patient, unlabelled = file.attrs["patient"].decode(), not file.attrs["labelled"]
        except InputError as error:
            warn(f"not compared with other scans: {error}")
            continue
        source = sources.get(name, f"a scan prepared before (part {name})")
        alike[lung].append(_Part(unlabelled, name in sources, "-" in parts.rows[name].key, source, name, patient))
    reasons: dict[str, str] = {}
    other_names: dict[str, str] = {}  # patients who are known by another name, and by which scan
    for candidates in alike.values():
        stay: list[_Part] = []
        for part in sorted(candidates):
            twin = next((other for other in stay if _same_images(parts, part.name, other.name, warn)), None)
            if twin is None:
                stay.append(part)
                continue
            reasons[part.name] = f"a scan must be handed in once, got the slices of {twin.source} again"
            if twin.patient != part.patient:
                reasons[part.name] += ", under another patient"
                other_names[part.patient] = twin.source
    for part in (part for candidates in alike.values() for part in candidates):
        if part.patient in other_names:
            known = f"got this one's slices under another one too, in {other_names[part.patient]}"
            reasons.setdefault(part.name, f"a person must be one patient, {known}")
    return reasons


def _same_images(parts: Parts, a: str, b: str, warn: Callable[[str], None]) -> bool:
    try:
        with parts.open(a) as one, parts.open(b) as other:
            return np.array_equal(one["images"][()], other["images"][()])
    except InputError as error:
        warn(f"not compared with other scans: {error}")
        return False
