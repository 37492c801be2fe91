"""Search of a folder: each file belongs to a scan or a label map, or is quarantined or ignored with a reason."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

from ildfv.datasets.pairing import is_label_name, pair
from ildfv.datasets.records import Discovery, Label, Scan, Unused, VolumeFile
from ildfv.errors import InputError
from ildfv.progress import SILENT, Progress
from ildfv.scans.dicom import assemble
from ildfv.scans.headers import Header, read_header
from ildfv.scans.libraries import quiet
from ildfv.scans.volumefiles import file_geometry, format_of
from ildfv.streaming.processes import Died, as_completed

SYSTEM_FILE = "a file of the operating system"
GZIP = b"\x1f\x8b"
CHUNK = 256  # files per task: less is not worth the start of a worker process
DICOM_NAMES = (".dcm", ".dicom", ".ima")
DETACHED = (".nhdr", ".hdr", ".img", ".mhd", ".mha")
SYSTEM_FILES = (".ds_store", "thumbs.db", "desktop.ini")
APPLE_DOUBLE = "._"  # prefix of the files in which macOS keeps attributes of the file named after it
NAMES = (*DICOM_NAMES, *DETACHED, ".nii", ".nii.gz", ".nrrd")


def discover(root: Path, *, labels: bool = True, workers: int | None = None, progress: Progress = SILENT) -> Discovery:
    """The scans in a folder and its subfolders, paired with their label maps if `labels`.

    All CT files with the same SeriesInstanceUID are one scan, in whichever folders they are. A NIfTI or NRRD file is a
    label map if its name contains a label word (see `pairing`), otherwise a scan. The patient of a DICOM series is its
    PatientID. A NIfTI or NRRD file has no patient identity: its patient is the first folder below `root` on its path,
    or the file name if the file is directly in `root`.
    """
    root = Path(root)
    found = Discovery()
    files = _files(root, found)
    base = root if root.is_dir() else root.parent

    headers: dict[str, list[Header]] = defaultdict(list)
    label_maps: list[Label] = []
    volumes: list[VolumeFile] = []
    with progress.task("Reading headers", total=len(files)) as advance:
        for item in _classified(files, workers, advance):
            match item:
                case Unused(quarantined=quarantined):
                    (found.quarantined if quarantined else found.ignored).append(item)
                case VolumeFile():
                    volumes.append(item)
                case Label():
                    label_maps.append(item)
                case Header(ignored=str(reason)):
                    found.ignored.append(Unused(item.path, reason))
                case Header(kind="segmentation", problem=str(reason)):
                    found.quarantined.append(Unused(item.path, reason))
                case Header(kind="segmentation"):
                    label_maps.append(Label(item.path, "dicom", referenced=item.referenced))
                case Header():
                    headers[item.series].append(item)
    unreadable = Counter(unused.source.parent for unused in found.quarantined)
    with quiet():
        for series, members in headers.items():
            _add_series(found, series, members, unreadable)
    found.scans = _with_study_patients(found.scans) + [_file_scan(base, volume) for volume in volumes]
    if labels:
        _pair(found, label_maps)
    else:
        found.ignored += [Unused(label.path, "label maps are not read without a code table") for label in label_maps]
    found.ignored, found.quarantined = _by_folder(found.ignored), _by_folder(found.quarantined, few=3)
    for entries in (found.scans, found.quarantined, found.ignored):
        entries.sort(key=lambda entry: str(entry.source))
    return found


def check_scans(root: Path) -> None:
    """Raises `InputError`, as `discover` would, if `root` does not exist or contains no file."""
    _files(Path(root), Discovery())


def _files(root: Path, found: Discovery) -> list[Path]:
    if not root.exists():
        raise InputError(f"scans must be an existing folder or file, got {root}, which does not exist")
    files = _walk(root, found) if root.is_dir() else [root]
    if not files and not found.quarantined:
        links = f"only links to folders, which are not followed ({len(found.ignored)})"
        got = links if found.ignored else "an empty folder"
        raise InputError(f"scans must contain at least one file, got {got}: {root}")
    return files


def _by_folder(entries: list[Unused], *, few: int = 1) -> list[Unused]:
    """The entries, with more than `few` files of one folder and one reason merged into one entry."""
    groups: dict[tuple[Path, str, str], list[Unused]] = defaultdict(list)
    for entry in entries:
        groups[entry.source.parent, entry.reason, entry.series].append(entry)
    merged = []
    for (folder, reason, series), group in groups.items():
        merged += group if len(group) <= few else [Unused(folder, reason, sum(one.files for one in group), series)]
    return merged


def _walk(root: Path, found: Discovery) -> list[Path]:
    """All files below `root`, sorted. Links to folders, which may form cycles, are recorded as ignored."""

    def refuse(error: OSError) -> None:
        found.quarantined.append(Unused(Path(error.filename), f"must be readable, got {error.strerror}", 0))

    files = []
    for folder, folders, names in os.walk(root, onerror=refuse):
        files += [Path(folder, name) for name in names]
        links = [path for name in folders if (path := Path(folder, name)).is_symlink()]
        found.ignored += [Unused(link, "links to folders are not followed", 0) for link in links]
    return sorted(files)


def _classified(files: list[Path], workers: int | None, advance):
    """The classification of each file, in the order of `files`; in parallel for many files."""
    chunks = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
    if len(chunks) <= 2:
        for chunk in chunks:
            yield from _classify(chunk)
            advance(len(chunk))
        return
    results: dict[int, list] = {}
    for index, result in as_completed(_classify, chunks, workers):
        if result is Died:  # one by one, to find the file that kills the reader
            result = [
                Unused(chunks[index][i], "its reader process was killed (out of memory?)") if one is Died else one[0]
                for i, one in sorted(as_completed(_classify, [[path] for path in chunks[index]], workers))
            ]
        results[index] = result
        advance(len(chunks[index]))
    for index in range(len(chunks)):
        yield from results[index]


def _classify(paths: list[Path]) -> list[Header | VolumeFile | Label | Unused]:
    with quiet():
        return [_classify_one(path) for path in paths]


def _classify_one(path: Path) -> Header | VolumeFile | Label | Unused:
    name = path.name.lower()
    try:
        if not path.is_file():
            broken_link = path.is_symlink() and not path.exists() and name.endswith(NAMES)
            broken_link = broken_link and not is_system_file(path.name, b"")
            return Unused(
                path, "must exist, got a broken link" if broken_link else "not a regular file", quarantined=broken_link
            )
        with path.open("rb") as file:
            start = file.read(512)
        if is_system_file(path.name, start):
            return Unused(path, SYSTEM_FILE, quarantined=False)
        if start[128:132] == b"DICM" or name.endswith(DICOM_NAMES):
            return read_header(path)
        if kind := format_of(path, start):
            record = Label if is_label_name(path.name) else VolumeFile
            return record(path, kind, file_geometry(path, kind))
    except InputError as error:
        return _unreadable(path, str(error))
    except OSError as error:
        return _unreadable(path, f"must be readable, got {error.strerror or error}")
    if name.endswith(DETACHED):
        return Unused(path, "must be DICOM or a volume in one file (.nii, .nii.gz, .nrrd), got an unsupported format")
    return Unused(path, "not DICOM, NIfTI or NRRD", quarantined=False)


def is_system_file(name: str, start: bytes) -> bool:
    """Whether the operating system wrote the file: by its name, unless its first 512 bytes are those of a scan."""
    if name.startswith(APPLE_DOUBLE):
        return start[128:132] != b"DICM" and not start.startswith(GZIP) and format_of(Path(), start) is None
    return name.lower() in SYSTEM_FILES


def _unreadable(path: Path, reason: str) -> Label | Unused:
    """An unreadable file. A label map remains one, so that its scan is not used without it."""
    if is_system_file(path.name, b""):
        return Unused(path, SYSTEM_FILE, quarantined=False)
    kind = format_of(path, b"") if is_label_name(path.name) else None
    return Unused(path, reason) if kind is None else Label(path, kind, fault=reason)


def _add_series(found: Discovery, series: str, members: list[Header], unreadable: Counter[Path]) -> None:
    folders = Counter(member.path.parent for member in members)
    source = members[0].path if len(members) == 1 else Path(os.path.commonpath(folders))
    try:
        assembled = assemble(members)
    except InputError as error:
        found.quarantined.append(Unused(source, str(error), len(members), series))
        return
    except OSError as error:  # deleted since its header was read; slices prepared earlier stay
        found.quarantined.append(Unused(source, f"must be readable, got {error.strerror or error}", len(members)))
        return
    found.ignored += [Unused(copy, "identical copy of another file of the series") for copy in assembled.copies]
    scan = Scan(source, "dicom", assembled.patient, series, assembled.geometry, tuple(assembled.files), assembled)
    found.scans.append(replace(scan, unreadable=sum(unreadable[folder] for folder in folders)))


def _with_study_patients(scans: list[Scan]) -> list[Scan]:
    """The series with the number of patients in their study, which is one in valid DICOM."""
    studies = [scan.dicom.study if scan.dicom else "" for scan in scans]
    patients: dict[str, set[str]] = defaultdict(set)
    for scan, study in zip(scans, studies, strict=True):
        patients[study].add(scan.patient)
    return [
        replace(scan, patients_in_study=len(patients[study])) if study else scan
        for scan, study in zip(scans, studies, strict=True)
    ]


def _file_scan(base: Path, volume: VolumeFile) -> Scan:
    inside = volume.path.relative_to(base)
    patient = inside.parts[0] if len(inside.parts) > 1 else volume.path.name.split(".")[0]
    return Scan(volume.path, volume.kind, patient, inside.as_posix(), volume.geometry, (volume.path,))


def _pair(found: Discovery, label_maps: list[Label]) -> None:
    """Assigns label maps to scans and quarantines the scans and label maps that pairing refuses."""
    chosen, refused_scans, refused_labels = pair(found.scans, label_maps)
    refused: list[Unused] = []
    for label, reason in refused_labels:
        if any(_is_scan_of(unused, label) for unused in found.quarantined):  # the fault is reported once, for the scan
            found.ignored.append(Unused(label.path, "label map of a quarantined scan"))
        else:
            refused.append(Unused(label.path, reason))
    found.quarantined += refused
    kept = []
    for i, scan in enumerate(found.scans):
        if i in refused_scans:
            reason, n_labels = refused_scans[i]
            found.quarantined.append(Unused(scan.source, reason, len(scan.files) + n_labels, scan.series))
        else:
            kept.append(replace(scan, label=chosen.get(i)))
    found.scans = kept


def _is_scan_of(unused: Unused, label: Label) -> bool:
    """Whether a quarantined file is, by its place, the scan of a label map that fits no other scan."""
    if label.kind == "dicom":
        return unused.series in label.referenced
    if is_label_name(unused.source.name) and not unused.series:
        return False
    folder = unused.source if unused.source.is_dir() else unused.source.parent
    return label.path.parent in (folder, folder.parent)
