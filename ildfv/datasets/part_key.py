"""The key of a stored part: a fingerprint of the files and settings that it was made from."""

from __future__ import annotations

from pathlib import Path

from ildfv.datasets.discovery import label_files
from ildfv.datasets.identity import hashed
from ildfv.datasets.records import Scan
from ildfv.datasets.settings import ScanSettings
from ildfv.datasets.unpacked import Unpacked
from ildfv.scans.resample import METHOD, must_resample
from ildfv.store.atomic import key_of
from ildfv.store.parts import Row

LABELS_PER_SLICE = "labels per slice"  # not in the keys of earlier versions, which labelled whole scans


def part_key(scan: Scan, settings: ScanSettings, base: Path, salt: str, view: Unpacked | None = None) -> str:
    """Fingerprint of the files (names, sizes and times), the patient and the settings that affect the part.

    The identity of a volume file is only its path below the input folder. Therefore its key starts with a hash of its
    absolute path and a dash.

    base: the folder that paths in the key are relative to. view: the original input, if `base` is a copy of it.
    """
    labels = [path for label in scan.labels for path in label_files(label)]
    files = [
        (path.relative_to(base).as_posix(), (stat := path.stat()).st_size, stat.st_mtime_ns)
        for path in [*scan.files, *labels]
    ]
    content = None
    if scan.labels and settings.codes is not None:
        structures = [label.structure for label in scan.labels]
        content = [LABELS_PER_SLICE, settings.codes.settings(), structures, settings.unlabelled_is_negative]
    if must_resample(scan.geometry):
        content = [METHOD, content]
    more: list = []  # omitted if empty, so that keys without these settings equal those of earlier versions
    if scan.grey is not None:
        more.append(["grey", scan.grey.low, scan.grey.high, scan.grey.field])  # recorded in the part
    if scan.mask is not None:
        more.append(["lung mask", (stat := scan.mask.stat()).st_size, stat.st_mtime_ns])
    if settings.hu:
        more.append("hu")
    if not settings.preparation.is_default:
        more.append(["preparation", settings.preparation.to_text()])
    key = key_of(files, content, hashed(scan.patient, salt), *more)
    if scan.dicom is not None:
        return key
    source = scan.source if view is None else view.original(scan.source)
    return f"{hashed(str(source.resolve()), salt)}-{key}"


def is_from_another_file(row: Row, scan: Scan, key: str) -> bool:
    """Whether a stored part was made from a volume file with another absolute path. key: the key of `scan`."""
    return scan.dicom is None and row.key.partition("-")[0] != key.partition("-")[0]
