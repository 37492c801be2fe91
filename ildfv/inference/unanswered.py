"""Input of a source that may be a scan but has no prediction, which must be reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ildfv.counted import counted
from ildfv.datasets.classify import PICTURE
from ildfv.datasets.records import Discovery, Scan, Unused
from ildfv.inference.pseudonym import pseudonym, pseudonym_of_series
from ildfv.scans.read_header import NOT_CT
from ildfv.scans.volumefiles import SUFFIXES

INSTEAD = "give the CT slices of this patient, because a predictor applies only to CT slices"


def unanswered(found: Discovery, chosen: Sequence[Scan], *, alone: bool) -> list[Unused]:
    """The input that may be a scan without a prediction: input that fails a check, and `other_images`.

    Parameters
    ----------
    found : Discovery
        The input of the source.
    chosen : sequence of Scan
        The scans to predict.
    alone : bool
        Whether one series of a single patient is predicted. Other series of this patient then need no prediction.
    """
    failed = [
        unused
        for unused in found.quarantined
        if not any(is_nearby(unused, scan) or (alone and is_of_patient(unused, scan)) for scan in chosen)
    ]
    return failed + other_images(found)


def other_images(found: Discovery) -> list[Unused]:
    """The series of images such as MR, and of derived CT images, of patients without a CT scan.

    Other images of a patient with a CT scan need no prediction. A PET/CT study, for example, also contains PET images.
    """
    patients = {scan.patient for scan in found.scans} | {unused.patient for unused in found.quarantined}
    return [unused for unused in found.ignored if unused.other_image and unused.patient not in patients - {""}]


def several(unused: Sequence[Unused]) -> bool:
    """Whether the input is known to be of several patients. Every volume file counts as a patient."""
    patients = {one.patient for one in unused if one.patient}
    patients |= {str(one.source) for one in unused if one.source.name.lower().endswith(SUFFIXES)}
    return len(patients) > 1


def reason_of(unused: Unused) -> str:
    """The reason why the input is not used, for images with the remedy."""
    return f"{unused.reason}; {INSTEAD}" if unused.other_image else unused.reason


def notes_on_ignored(ignored: Iterable[Unused], lost: Sequence[Unused]) -> list[str]:
    """One note for each kind of ignored image and DICOM object, with the number of its files.

    lost: the result of `unanswered`, which is not counted here, because it is reported as failures.
    """
    files: Counter[str] = Counter()
    for unused in ignored:
        if unused not in lost and (unused.other_image or unused.reason.startswith((NOT_CT, PICTURE))):
            files[unused.reason] += unused.files
    return [f"{counted(number, 'file')} ignored: {reason}" for reason, number in files.items()]


def notes_on_unused(quarantined: Sequence[Unused], scan: Scan, *, alone: bool) -> list[str]:
    """Notes on input that cannot be used: files next to the scan and, if `alone`, other series of its patient."""
    nearby = [unused for unused in quarantined if is_nearby(unused, scan)]
    series = [unused for unused in quarantined if alone and is_of_patient(unused, scan)]
    notes = []
    if series:
        notes.append(f"{len(series)} other series cannot be used; reason for the first: {series[0].reason}")
    if nearby:
        files = counted(sum(unused.files for unused in nearby), "file")
        notes.append(f"{files} in the folder of the scan cannot be used, so slices may be missing: {nearby[0].reason}")
    return notes


def is_of_patient(unused: Unused, scan: Scan) -> bool:
    """Whether the input is a DICOM series of the patient of a DICOM scan."""
    return scan.dicom is not None and unused.patient == scan.patient


def is_nearby(unused: Unused, scan: Scan) -> bool:
    """Whether the input may be slices of a DICOM scan: it has no readable patient and is in a folder of the scan."""
    if scan.dicom is None or unused.patient or unused.source.name.lower().endswith(SUFFIXES):
        return False
    return bool({unused.source, unused.source.parent} & {file.parent for file in scan.files})


def explained_unused(unused: Unused, folder: Path) -> str:
    """The reason why the input is not used, on one line, with its path below `folder` and its number of files."""
    inside = unused.source.relative_to(folder) if unused.source != folder else Path(unused.source.name)
    files = f" ({counted(unused.files, 'file')})" if unused.files > 1 else ""
    return f"{inside}{files}: {reason_of(unused)}"


def named(input_: Scan | Unused, failed: Sequence[dict]) -> dict[str, Any]:
    """The fields of an entry of `failed` that distinguish it from others without identifiers.

    "scan": the pseudonym of a scan or DICOM series, as in outputs; for other input, a number in the order of the
    failures, which is the same with `keep_identity`. "files": the number of files.
    """
    if isinstance(input_, Unused):
        files, name = input_.files, pseudonym_of_series(input_.series) if input_.series else None
    else:
        files = len(input_.files)
        try:
            name = pseudonym(input_)
        except OSError:  # a volume file was removed or cannot be read, so its content has no checksum
            name = None
    if name is None:
        name = f"unnamed scan {1 + sum(one.get('scan', '').startswith('unnamed scan') for one in failed)}"
    return {"scan": name, "files": files}
