"""Slices handed in twice: which scan stays, and whose other scans must go, as one person is two patients."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ildfv.errors import InputError
from ildfv.store.parts import Parts

RUN = 3  # slices one after another with as much lung as those of another scan: then their images are compared
REPEATS = 8  # of such a run in a scan: a cylinder has as much everywhere, and all pairs would be compared


@dataclass(frozen=True, order=True)
class _Part:
    """A part and what it is known by, in the order in which twins stay."""

    unlabelled: bool  # a labelled one stays before one without labels,
    handed_in: bool  # one prepared before
    volume_file: bool  # and a DICOM series, as a volume file's patient is the name of a folder
    source: str
    name: str
    patient: str = field(compare=False)
    lung: np.ndarray = field(compare=False)  # (m,)

    def runs(self) -> Iterator[tuple[bytes, slice]]:
        """What the scan is recognised by, and which slices that is: all of them, and each run with lung."""
        yield self.lung.tobytes(), slice(0, len(self.lung))
        seen: Counter[bytes] = Counter()
        for start in range(len(self.lung) - RUN + 1):
            run = slice(start, start + RUN)
            key = self.lung[run].tobytes()
            seen[key] += 1
            if self.lung[run].all() and seen[key] <= REPEATS:
                yield key, run


def twins(parts: Parts, sources: Mapping[str, str], warn: Callable[[str], None]) -> dict[str, str]:
    """Why a part must be set aside, by its name: its slices are another's, or its patient's are another patient's too.

    sources: where the scans that are handed in now lie, by part; others were prepared before, from elsewhere. Of one
    patient's scans only those are twins that have all slices in common. Scans of two patients are if they share RUN
    slices: then the two are one person, whom a split by patient would put on both of its sides, and no other scan of
    the one set aside may stay. A copy whose pixels differ is not found. warn: is told of parts that cannot be
    compared, as they are damaged.
    """
    found = _read(parts, sources, warn)
    reasons: dict[str, str] = {}
    other_names: dict[str, str] = {}  # patients who are known by another name, and by which scan
    known: dict[bytes, list[tuple[_Part, slice]]] = defaultdict(list)  # of the parts that stay
    for part in sorted(found):
        twin = next(_twins_of(part, known, parts, warn), None)
        if twin is None:
            for run, where in part.runs():
                known[run].append((part, where))
            continue
        reasons[part.name] = f"a scan must be handed in once, got slices of {twin.source} again"
        if twin.patient != part.patient:
            reasons[part.name] += ", under another patient"
            other_names[part.patient] = twin.source
    for part in found:
        if part.patient in other_names:
            twin_of = other_names[part.patient]
            reason = f"a person must be one patient, got this one's slices under another one too, in {twin_of}"
            reasons.setdefault(part.name, reason)
    return reasons


def _read(parts: Parts, sources: Mapping[str, str], warn: Callable[[str], None]) -> list[_Part]:
    found = []
    for name, row in parts.rows.items():
        source = sources.get(name, f"a scan prepared before (part {name})")
        try:
            with parts.open(name) as file:
                patient, labelled = file.attrs["patient"].decode(), bool(file.attrs["labelled"])
                found.append(
                    _Part(not labelled, name in sources, "-" in row.key, source, name, patient, file["lung"][()])
                )
        except InputError as error:
            warn(f"not compared with other scans: {error}")
    return found


def _twins_of(part: _Part, known: Mapping, parts: Parts, warn: Callable[[str], None]) -> Iterator[_Part]:
    """The known parts that are twins of this one."""
    whole = slice(0, len(part.lung))
    for run, where in part.runs():
        for other, there in known.get(run, ()):
            alike = (where, there) == (whole, whole) or other.patient != part.patient
            if alike and _same_images(parts, (part.name, where), (other.name, there), warn):
                yield other


def _same_images(parts: Parts, one: tuple[str, slice], other: tuple[str, slice], warn: Callable[[str], None]) -> bool:
    try:
        with parts.open(one[0]) as a, parts.open(other[0]) as b:
            return np.array_equal(a["images"][one[1]], b["images"][other[1]])
    except InputError as error:
        warn(f"not compared with other scans: {error}")
        return False
