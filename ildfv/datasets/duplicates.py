"""Search for duplicate scans in the store. One copy is kept, and the others are removed.

If the copies have different patient identities, the two patients are one person, who could be in two folds. Therefore
all other scans of the removed copy's patient are also removed.

First the signatures of slices are compared: the number of lung pixels and a checksum of the windowed images. Then the
images of slices with equal signatures are compared.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ildfv.errors import InputError
from ildfv.store.parts import Parts

REMEDY = "give both the same patient in the column patient of --table or --labels"
RUN = 3  # images are compared if this many consecutive slices have the same signatures in two scans
REPEATS = 8  # maximum number of equal runs of a scan that are compared; a cylindrical phantom has only equal runs


@dataclass(frozen=True, order=True)
class _Part:
    """A part and the signatures of its slices. In sorted order, the copy to keep comes first.

    signatures: (m, 2), lung pixels and checksum of the images of each slice; (m, 1) without checksums.
    """

    unlabelled: bool  # labelled copies come first
    in_input: bool  # then copies that were prepared by an earlier run only
    volume_file: bool  # then DICOM series, because the patient of a volume file is only a folder name
    source: str
    name: str
    patient: str = field(compare=False)
    signatures: np.ndarray = field(compare=False)

    def runs(self) -> Iterator[tuple[bytes, slice]]:
        """Yields (signatures as bytes, slices): for the whole scan, then for each run of slices with lung."""
        yield self.signatures.tobytes(), slice(0, len(self.signatures))
        seen: Counter[bytes] = Counter()
        for start in range(len(self.signatures) - RUN + 1):
            run = slice(start, start + RUN)
            signatures = self.signatures[run].tobytes()
            seen[signatures] += 1
            if self.signatures[run, 0].all() and seen[signatures] <= REPEATS:
                yield signatures, run


def find_duplicates(
    parts: Parts, sources: Mapping[str, str], warn: Callable[[str], None], remedy: str = REMEDY
) -> dict[str, str]:
    """The parts that must be removed from the store: the reason, by name of the part.

    Two scans of one patient are duplicates if all their slices are equal. Scans of two patients are duplicates if they
    share `RUN` consecutive slices. The two patients are then the same person, and all other scans of the removed copy's
    patient are also removed. Windowed images are compared, so a copy with changed pixel values is not found.

    Parameters
    ----------
    parts : Parts
        The slice store.
    sources : mapping of str to str
        Path of each scan of the current input, by name of its part. All other parts are from earlier runs.
    warn : callable
        Called with one line for each part that cannot be compared because it is corrupt.
    remedy : str
        How to give two scans the same patient.
    """
    found = _read_parts(parts, sources, warn)
    reasons: dict[str, str] = {}
    same_person: dict[str, str] = {}  # source of the copy that is kept, by the patient whose scans are removed
    known: dict[bytes, list[tuple[_Part, slice]]] = defaultdict(list)  # runs of the parts that are kept, by signatures
    for part in sorted(found):
        original = next(_originals_of(part, known, parts, warn), None)
        if original is None:
            for signatures, run in part.runs():
                known[signatures].append((part, run))
            continue
        reasons[part.name] = f"must not duplicate another scan, got slices of {original.source}"
        if original.patient != part.patient:
            reasons[part.name] += ", which has another patient"
            same_person[part.patient] = original.source
    for part in found:
        if part.patient in same_person:
            source = same_person[part.patient]
            reason = (
                f"its patient must have one identity, but a scan of this patient duplicates {source}, which has "
                f"another patient: {remedy}"
            )
            reasons.setdefault(part.name, reason)
    return reasons


def _read_parts(parts: Parts, sources: Mapping[str, str], warn: Callable[[str], None]) -> list[_Part]:
    """The parts of the store. Corrupt parts are omitted with a warning.

    Parts of earlier versions have no checksums. If there is such a part, the signatures contain only numbers of lung
    pixels, and the images of every pair of scans with equal numbers are compared.
    """
    found = []
    for name, row in parts.rows.items():
        source = sources.get(name, f"a scan of an earlier run (part {name})")
        try:
            with parts.open(name) as file:
                patient, labelled = file.attrs["patient"].decode(), bool(file.attrs["labelled"])
                columns = [file[one][()].astype(np.int64) for one in ("lung", "checksums") if one in file]
                signatures = np.stack(columns, axis=1)
                found.append(_Part(not labelled, name in sources, "-" in row.key, source, name, patient, signatures))
        except InputError as error:
            warn(f"not compared with other scans: {error}")
    columns_of_all = min((part.signatures.shape[1] for part in found), default=0)
    return [replace(part, signatures=part.signatures[:, :columns_of_all]) for part in found]


def _originals_of(part: _Part, known: Mapping, parts: Parts, warn: Callable[[str], None]) -> Iterator[_Part]:
    """Yields the known parts that `part` duplicates."""
    whole = slice(0, len(part.signatures))
    for signatures, run in part.runs():
        for other, other_run in known.get(signatures, ()):
            comparable = (run, other_run) == (whole, whole) or other.patient != part.patient
            if comparable and _same_images(parts, (part.name, run), (other.name, other_run), warn):
                yield other


def _same_images(parts: Parts, one: tuple[str, slice], other: tuple[str, slice], warn: Callable[[str], None]) -> bool:
    try:
        with parts.open(one[0]) as a, parts.open(other[0]) as b:
            return np.array_equal(a["images"][one[1]], b["images"][other[1]])
    except InputError as error:
        warn(f"not compared with other scans: {error}")
        return False
