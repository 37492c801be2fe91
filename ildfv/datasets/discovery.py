"""What a folder of scans holds: every file is in a scan or its label map, or quarantined or ignored with a reason."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

from ildfv.datasets.pairing import Label, is_label_name, pair
from ildfv.errors import InputError
from ildfv.progress import SILENT, Progress
from ildfv.scans.dicom import Series, assemble
from ildfv.scans.geometry import Geometry
from ildfv.scans.headers import Header, read_header
from ildfv.scans.libraries import quiet
from ildfv.scans.volumefiles import file_geometry, format_of
from ildfv.streaming.processes import Died, as_completed

CHUNK = 256  # files looked at per task: a worker's start must be worth it
DICOM_NAMES = (".dcm", ".dicom", ".ima")
DETACHED = (".nhdr", ".hdr", ".img", ".mhd", ".mha")
NAMES = (*DICOM_NAMES, *DETACHED, ".nii", ".nii.gz", ".nrrd")


@dataclass(frozen=True)
class Scan:
    """A scan found: where it lies, whose it is (raw ids: they go no further than their hashes), its label map."""

    source: Path  # the file, or the folder of the series
    kind: str  # "dicom", "nifti" or "nrrd"
    patient: str
    series: str
    geometry: Geometry  # canonical
    files: tuple[Path, ...]
    dicom: Series | None = None
    label: Label | None = None
    namesakes: int = 1  # patients whose scans are of its study
    unread: int = 0  # files in the folders of a series that were set aside: slices at its ends may be among them


@dataclass(frozen=True)
class Left:
    """Something not used: a file or folder, why, and how many files that is."""

    source: Path
    reason: str
    files: int = 1
    series: str = ""  # raw id where one is known
    meant: bool = True  # it was meant to be used: quarantined, not ignored


@dataclass
class Discovery:
    scans: list[Scan] = field(default_factory=list)
    quarantined: list[Left] = field(default_factory=list)  # meant to be used, but breaks a rule
    ignored: list[Left] = field(default_factory=list)  # not meant to be used


@dataclass(frozen=True)
class VolumeFile:
    path: Path
    kind: str
    geometry: Geometry


def discover(root: Path, *, labels: bool = True, workers: int | None = None, progress: Progress = SILENT) -> Discovery:
    """The scans in a folder and all folders in it, paired with their label maps if `labels`.

    A CT series is what shares a SeriesInstanceUID, wherever its files lie. A NIfTI or NRRD file is a scan, or a label
    map if its name says so (see `pairing`). The patient of a DICOM series is its PatientID; a NIfTI or NRRD file has
    none, so its patient is the folder directly under `root` that it lies in, or the file's own name if it lies in
    `root` itself.
    """
    root = Path(root)
    found = Discovery()
    files = _files(root, found)
    base = root if root.is_dir() else root.parent

    headers: dict[str, list[Header]] = defaultdict(list)
    label_maps: list[Label] = []
    volumes: list[VolumeFile] = []
    with progress.task("Looking at files", total=len(files)) as advance:
        for item in _looked_at(files, workers, advance):
            match item:
                case Left(meant=meant):
                    (found.quarantined if meant else found.ignored).append(item)
                case VolumeFile():
                    volumes.append(item)
                case Label():
                    label_maps.append(item)
                case Header(ignored=str(reason)):
                    found.ignored.append(Left(item.path, reason))
                case Header(kind="segmentation", problem=str(reason)):
                    found.quarantined.append(Left(item.path, reason))
                case Header(kind="segmentation"):
                    label_maps.append(Label(item.path, "dicom", referenced=item.referenced))
                case Header():
                    headers[item.series].append(item)
    unread = Counter(left.source.parent for left in found.quarantined)
    with quiet():
        for series, members in headers.items():
            _add_series(found, series, members, unread)
    found.scans = _with_namesakes(found.scans) + [_file_scan(base, volume) for volume in volumes]
    if labels:
        _pair(found, label_maps)
    else:
        found.ignored += [Left(label.path, "no code table was given: label maps are not read") for label in label_maps]
    found.ignored, found.quarantined = _by_folder(found.ignored), _by_folder(found.quarantined, few=3)
    for entries in (found.scans, found.quarantined, found.ignored):
        entries.sort(key=lambda entry: str(entry.source))
    return found


def check_scans(root: Path) -> None:
    """Nothing if there is something to look at in `root`; else the `InputError` that `discover` would raise."""
    _files(Path(root), Discovery())


def _files(root: Path, found: Discovery) -> list[Path]:
    if not root.exists():
        raise InputError(f"scans must be an existing folder or file, got {root}, which does not exist")
    files = _walk(root, found) if root.is_dir() else [root]
    if not files and not found.quarantined:
        links = f"only links to folders, which are not followed ({len(found.ignored)})"
        got = links if found.ignored else "an empty folder"
        raise InputError(f"scans must hold at least one file, got {got}: {root}")
    return files


def _by_folder(entries: list[Left], *, few: int = 1) -> list[Left]:
    """More than a few files of one folder left for one reason as one entry: an MR series is a line, not a thousand."""
    groups: dict[tuple[Path, str, str], list[Left]] = defaultdict(list)
    for entry in entries:
        groups[entry.source.parent, entry.reason, entry.series].append(entry)
    told = []
    for (folder, reason, series), group in groups.items():
        told += group if len(group) <= few else [Left(folder, reason, sum(one.files for one in group), series)]
    return told


def _walk(root: Path, found: Discovery) -> list[Path]:
    """All files below `root`, sorted. Links to folders (they could lead in circles) and unreadable folders are told."""

    def refuse(error: OSError) -> None:
        found.quarantined.append(Left(Path(error.filename), f"must be readable, got {error.strerror}", 0))

    files = []
    for folder, folders, names in os.walk(root, onerror=refuse):
        files += [Path(folder, name) for name in names]
        links = [path for name in folders if (path := Path(folder, name)).is_symlink()]
        found.ignored += [Left(link, "a link to a folder is not followed", 0) for link in links]
    return sorted(files)


def _looked_at(files: list[Path], workers: int | None, advance):
    """What each file is, in the order of `files`; on all cores where there are many."""
    chunks = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
    if len(chunks) <= 2:
        for chunk in chunks:
            yield from _look_at(chunk)
            advance(len(chunk))
        return
    results: dict[int, list] = {}
    for index, result in as_completed(_look_at, chunks, workers):
        if result is Died:  # the file that does it can only be found one by one
            result = [
                Left(chunks[index][i], "its reader process died") if one is Died else one[0]
                for i, one in sorted(as_completed(_look_at, [[path] for path in chunks[index]], workers))
            ]
        results[index] = result
        advance(len(chunks[index]))
    for index in range(len(chunks)):
        yield from results[index]


def _look_at(paths: list[Path]) -> list[Header | VolumeFile | Label | Left]:
    with quiet():
        return [_look_at_one(path) for path in paths]


def _look_at_one(path: Path) -> Header | VolumeFile | Label | Left:
    name = path.name.lower()
    try:
        if not path.is_file():
            lost = path.is_symlink() and not path.exists() and name.endswith(NAMES)
            return Left(path, "a link must lead to a file, got none there" if lost else "no regular file", meant=lost)
        with path.open("rb") as file:
            start = file.read(512)
        if start[128:132] == b"DICM" or name.endswith(DICOM_NAMES):
            return read_header(path)
        if kind := format_of(path, start):
            made = Label if is_label_name(path.name) else VolumeFile
            return made(path, kind, file_geometry(path, kind))
    except InputError as error:
        return _faulty(path, str(error))
    except OSError as error:
        return _faulty(path, f"must be readable, got {error.strerror or error}")
    if name.endswith(DETACHED):
        return Left(path, "must be a volume in one file (.nii, .nii.gz, .nrrd) or DICOM, got a format that is not read")
    return Left(path, "no scan: neither DICOM, NIfTI nor NRRD", meant=False)


def _faulty(path: Path, reason: str) -> Label | Left:
    """What cannot be read, set aside; but a scan must not do without its label map for that."""
    kind = format_of(path, b"") if is_label_name(path.name) else None
    return Left(path, reason) if kind is None else Label(path, kind, fault=reason)


def _add_series(found: Discovery, series: str, members: list[Header], unread: Counter[Path]) -> None:
    folders = Counter(member.path.parent for member in members)
    source = members[0].path if len(members) == 1 else Path(os.path.commonpath(folders))
    try:
        made = assemble(members)
    except InputError as error:
        found.quarantined.append(Left(source, str(error), len(members), series))
        return
    except OSError as error:  # gone since it was looked at; what was prepared of it before may stay
        found.quarantined.append(Left(source, f"must be readable, got {error.strerror or error}", len(members)))
        return
    found.ignored += [Left(copy, "no second use: equals another file byte for byte") for copy in made.copies]
    files, beside = tuple(made.files), sum(unread[folder] for folder in folders)
    found.scans.append(Scan(source, "dicom", made.patient, series, made.geometry, files, made, unread=beside))


def _with_namesakes(scans: list[Scan]) -> list[Scan]:
    """The series with the number of patients that their study has: in DICOM it is one, but for mistakes."""
    studies = [scan.dicom.study if scan.dicom else "" for scan in scans]
    patients: dict[str, set[str]] = defaultdict(set)
    for scan, study in zip(scans, studies, strict=True):
        patients[study].add(scan.patient)
    return [
        replace(scan, namesakes=len(patients[study])) if study else scan
        for scan, study in zip(scans, studies, strict=True)
    ]


def _file_scan(base: Path, volume: VolumeFile) -> Scan:
    inside = volume.path.relative_to(base)
    patient = inside.parts[0] if len(inside.parts) > 1 else volume.path.name.split(".")[0]
    return Scan(volume.path, volume.kind, patient, inside.as_posix(), volume.geometry, (volume.path,))


def _pair(found: Discovery, label_maps: list[Label]) -> None:
    """Gives scans their label maps; a scan or label map that pairing refuses goes to quarantine."""
    chosen, refused_scans, refused_labels = pair(found.scans, label_maps)
    blamed: list[Left] = []
    for label, reason in refused_labels:
        if any(_neighbours(left, label) for left in found.quarantined):  # one fault, told once: the scan's
            found.ignored.append(Left(label.path, "label map of a scan that was set aside"))
        else:
            blamed.append(Left(label.path, reason))
    found.quarantined += blamed
    kept = []
    for i, scan in enumerate(found.scans):
        if i in refused_scans:
            reason, n_labels = refused_scans[i]
            found.quarantined.append(Left(scan.source, reason, len(scan.files) + n_labels, scan.series))
        else:
            kept.append(replace(scan, label=chosen.get(i)))
    found.scans = kept


def _neighbours(left: Left, label: Label) -> bool:
    """Whether what was set aside is a scan that the label map, having found no other, belongs to."""
    if label.kind == "dicom":
        return left.series in label.referenced
    if is_label_name(left.source.name) and not left.series:
        return False
    folder = left.source if left.source.is_dir() else left.source.parent
    return label.path.parent in (folder, folder.parent)
